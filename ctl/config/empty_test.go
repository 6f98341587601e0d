package config

import (
	"testing"

	"github.com/goccy/go-yaml/lexer"
)

func TestEmptyCounter(t *testing.T) {
	for text, want := range map[string]int{
		"a: 1\nb:\n- 1\n- 2\nc:\n  - d: 1\n    e: 2\n  -\n    f: 1\n  - # x\n    f: [1, 2]\n": 0,
		"a:\n  b: 1\nc: {}\nd: []\ne: [{}, [], {}]\nf: {g: [1,], h: {i: 1}, j: 1,}\n":         0,
		"a: [x, y, z]\nb: [{c: 1}, {d: x, e: 'y'}, x]\n":                                      0,
		"a: {b: # x\n  1}\nc:\n  # x\n  d\n":                                                  0,
		"-\n- # x\n# y\n-\n- 1\n":                                                             3,
		"- -\n- - -\n- 1\n":                                                                   2,
		"- a:\n  b:\n- c:\nd: 1\n":                                                            3,
		"a:\nb: 1\n":                                                                          1,
		"a: {b, c: , d: 1, e}\n":                                                              3,
		"[{a}, {b: }, {\"c\" # x\n}, [d: ], {}]\n":                                            4,
	} {
		var e emptyCounter
		got := 0
		for _, tk := range lexer.Tokenize(text) {
			got = e.count(tk)
		}
		if got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
