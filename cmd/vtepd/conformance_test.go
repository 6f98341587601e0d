package main_test

import (
	"fmt"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
)

// setting is a way to run vtepd in which its conformance is proved: every conformance and interoperation test runs once in each.
type setting struct {
	name string
	yaml string // lines of the top level of the file
	kind string // type of the ports
	fast bool   // needs the fast path
}

// port is the beginning of a port in the file: its name, which is also that of the workload's interface, and what it is made of.
func (s *setting) port(name string) string {
	words := "name: " + name + ", type: " + s.kind
	if s.kind == "veth" {
		words += ", ifname: " + name
	}
	return words
}

// settings are all of them. The fast path is tried with veth ports, whose workload's end may be in another namespace; of a TAP there it carries nothing.
var settings = []setting{
	{name: "TAP", yaml: "offload: auto\nfastpath: off\n", kind: "tap"},
	{name: "TAP, no offload", yaml: "offload: off\nfastpath: off\n", kind: "tap"},
	{name: "veth, fast path", yaml: "offload: auto\nfastpath: on\n", kind: "veth", fast: true},
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
				if s.fast {
					needFastPath(t)
				}
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

// needFastPath skips a test where the kernel has not what the fast path cannot do without, and names it.
func needFastPath(t *testing.T) {
	t.Helper()
	lab.NeedRoot(t)
	can := xdp.Probe()
	for _, c := range []xdp.Capability{can.BPF, can.TCX, can.BTF, can.RedirectNeigh, can.RedirectPeer} {
		if !c.On {
			t.Skipf("no fast path here: %s: %s", c.Name, c.Reason)
		}
	}
}
