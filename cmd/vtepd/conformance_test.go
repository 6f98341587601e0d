package main_test

import (
	"fmt"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// setting is a way to run vtepd in which its conformance is proved: every conformance and interoperation test runs once in each.
type setting struct {
	name string
	yaml string // lines of the top level of the file
}

// settings are all of them.
var settings = []setting{
	{"offload", "offload: auto\n"},
	{"plain", "offload: off\n"},
}

// family is the kind of underlay a test runs over.
type family struct {
	name string
	v6   bool
}

var families = []family{{"IPv4", false}, {"IPv6", true}}

// everySetting runs a test over each family in each setting, all of them side by side: they mostly wait.
func everySetting(t *testing.T, f func(t *testing.T, s setting, over family)) {
	for _, over := range families {
		for _, s := range settings {
			t.Run(fmt.Sprintf("%s %s", over.name, s.name), func(t *testing.T) {
				t.Parallel()
				f(t, s, over)
			})
		}
	}
}

// drain takes every frame that a sniffer has. A deadline that passes before the read begins says nothing about the buffer: on a busy machine only a third
// empty look is believed.
func drain(s *lab.Sniffer, take func(frame []byte)) {
	for empty := 0; empty < 3; {
		f, ok := s.Next(2 * time.Millisecond)
		if !ok {
			empty++
			continue
		}
		empty = 0
		take(f.Data)
	}
}
