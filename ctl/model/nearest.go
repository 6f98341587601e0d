package model

import (
	"fmt"
	"strings"
)

// maxNear bounds the words that are looked through for the one that was meant: with more, that would take longer than everything else, and the
// nearest of thousands is none that was meant.
const maxNear = 256

// DidYouMean is ` (did you mean "x"?)` for the word that s is nearest to, or empty when it is near to none.
func DidYouMean(s string, words []string) string {
	if w := Nearest(s, words); w != "" {
		return fmt.Sprintf(" (did you mean %q?)", w)
	}
	return ""
}

// Expected is what to say behind a word that is none of words: the one that was meant, as DidYouMean, or all there are.
func Expected(s string, words []string) string {
	if hint := DidYouMean(s, words); hint != "" {
		return hint
	}
	return ": expected one of " + strings.Join(words, ", ")
}

// Nearest is the word that s is a typing mistake away from: at most two edits, and fewer than half of the word. Empty when there is none, or more than
// maxNear to choose from.
func Nearest(s string, words []string) string {
	if len(words) > maxNear {
		return ""
	}
	best, bestDist := "", 3
	for _, w := range words {
		if len(s) > len(w)+2 || len(w) > len(s)+2 {
			continue
		}
		if d := editDistance(s, w); d < bestDist && 2*d <= len(w) {
			best, bestDist = w, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
func editDistance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
