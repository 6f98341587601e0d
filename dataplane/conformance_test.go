package dataplane

import (
	"fmt"
	"testing"
)

// mode is a way to run the switch in which its conformance is proved.
type mode struct {
	name   string
	change func(*Config)
}

// modes are all of them: each conformance test runs once in each.
var modes = []mode{
	{"offload", func(c *Config) { c.FastPath = FastPathOff }},
	{"plain", func(c *Config) { c.Offload, c.FastPath = false, FastPathOff }},
	{"fast path", func(c *Config) { c.FastPath = FastPathOn }},
}

// everyMode runs a conformance test over IPv4 and over IPv6 in every mode, each with a scene of its own with a number of remotes.
func everyMode(t *testing.T, remotes int, f func(t *testing.T, s *scene)) {
	for _, family := range []int{4, 6} {
		for _, m := range modes {
			t.Run(fmt.Sprintf("IPv%d %s", family, m.name), func(t *testing.T) {
				t.Parallel()
				build := newScene
				if family == 6 {
					build = newScene6
				}
				f(t, build(t, remotes, m.change))
			})
		}
	}
}
