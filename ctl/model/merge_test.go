package model

import (
	"slices"
	"strings"
	"testing"
)

// TestMergeList: a list that the file changes is in the file's order, and what was done to it at run time stays.
func TestMergeList(t *testing.T) {
	for _, c := range []struct{ base, target, running, want string }{
		{"", "", "", ""},
		{"a b", "a b", "b c a", "b c a"}, // the file says nothing new
		{"a b", "b a", "a b", "b a"},
		{"a b", "a x b", "a b", "a x b"},
		{"a b", "x a b", "a b c", "x a b c"}, // c came at run time
		{"a b", "x a b", "b", "x b"},         // and a left
		{"a b", "b", "a b c", "b c"},
		{"a b", "", "a b c", "c"},
		{"", "b a", "a c", "b a c"}, // known at run time before the file knew it
		{"a b c", "c x a", "c a b d", "c x a d"},
	} {
		running := strings.Fields(c.running)
		got := MergeList(strings.Fields(c.base), strings.Fields(c.target), running)
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("from %q to %q while %q runs: %q, want %q", c.base, c.target, c.running, got, c.want)
		}
		if !slices.Equal(running, strings.Fields(c.running)) {
			t.Errorf("from %q to %q: what runs was changed", c.base, c.target)
		}
	}
}
