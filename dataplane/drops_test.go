package dataplane

import (
	"os"
	"regexp"
	"testing"
)

// docsHeading matches the heading of a reason in docs/drops.md.
var docsHeading = regexp.MustCompile("(?m)^### `([a-z0-9_]+)`$")

// TestReasonsAreDocumented holds docs/drops.md to its promise: one heading for each reason, in the order of the stages, and none for a reason that is
// not there.
func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/drops.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := docsHeading.FindAllStringSubmatch(string(page), -1)
	documented := make(map[string]int, len(headings))
	for i, r := range headings {
		if j, twice := documented[r[1]]; twice {
			t.Errorf("docs/drops.md: %s has headings %d and %d", r[1], j, i)
		}
		documented[r[1]] = i
	}
	last := -1
	for _, r := range Reasons() {
		i, ok := documented[r.String()]
		if !ok {
			t.Errorf("docs/drops.md: no heading for %s", r)
			continue
		}
		if i < last {
			t.Errorf("docs/drops.md: %s is not in the order of the stages", r)
		}
		last = i
		delete(documented, r.String())
	}
	for word := range documented {
		t.Errorf("docs/drops.md: %s is no reason", word)
	}
}

// TestReasonWords holds the words to what scripts expect: snake_case, one for each reason.
func TestReasonWords(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+[0-9]?(_[a-z]+)*$`)
	seen := make(map[string]Reason)
	for _, r := range append(Reasons(), ReasonNone) {
		s := r.String()
		if !word.MatchString(s) {
			t.Errorf("reason %d: %q is not snake_case", r, s)
		}
		if other, twice := seen[s]; twice {
			t.Errorf("reasons %d and %d are both %q", other, r, s)
		}
		seen[s] = r
	}
	if got := numReasons.String(); got != "unknown" {
		t.Errorf("a reason that is none: %q, want unknown", got)
	}
}
