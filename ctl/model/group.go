package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"vtepd/dataplane"
)

// maxGroup is the largest group policy ID: 16 bits (draft-smith-vxlan-group-policy-05 2.1).
const maxGroup = 1<<16 - 1

// ParseGroup reads a group policy ID; 0 is no group.
func ParseGroup(s string) (uint16, error) {
	n, err := parseNumber(s, "a group policy ID", 0, maxGroup)
	return uint16(n), err
}

// ParseGroups reads group policy IDs and ranges (5,10-20) into ascending ranges that neither overlap nor touch.
func ParseGroups(s string) ([]dataplane.GroupRange, error) {
	var list []dataplane.GroupRange
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := ParseGroup(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = ParseGroup(to); err != nil {
				return nil, err
			}
			if last < first {
				return nil, fmt.Errorf("%s is a range that ends before it starts: write %d-%d", quote(part), last, first)
			}
		}
		list = append(list, dataplane.GroupRange{First: first, Last: last})
	}
	return JoinGroups(list), nil
}

// ParseGroupsOrNone is ParseGroups with the word none for an empty list, which says more than nothing where a level above has a list.
func ParseGroupsOrNone(s string) ([]dataplane.GroupRange, error) {
	if s == "none" {
		return []dataplane.GroupRange{}, nil
	}
	return ParseGroups(s)
}

// JoinGroups brings ranges into one form: ascending, and none that overlap or touch. It writes into list.
func JoinGroups(list []dataplane.GroupRange) []dataplane.GroupRange {
	slices.SortFunc(list, func(a, b dataplane.GroupRange) int { return cmp.Compare(a.First, b.First) })
	joined := list[:0]
	for _, r := range list {
		if n := len(joined); n > 0 && int(r.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, r.Last)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// GroupWords writes ranges as ParseGroups reads them, one word each.
func GroupWords(list []dataplane.GroupRange) []string {
	var words []string
	for _, r := range list {
		word := fmt.Sprint(r.First)
		if r.Last != r.First {
			word += fmt.Sprintf("-%d", r.Last)
		}
		words = append(words, word)
	}
	return words
}
