package model

import (
	"net/netip"
	"testing"

	"vtepd/dataplane"
)

// Two ports may want one name in the middle of several steps, and not at their end.
func TestCheckStep(t *testing.T) {
	old := New()
	old.Global.Local = netip.MustParseAddr("192.0.2.1")
	old.VNIs.Put(42, &VNI{})
	old.Ports.Put("v0", &Port{Type: dataplane.PortVeth, VNI: 42, NetNS: "red"})
	old.Ports.Put("v1", &Port{Type: dataplane.PortVeth, VNI: 42, NetNS: "blue"})
	old.Normalize()
	if err := old.Check(); err != nil {
		t.Fatal(err)
	}
	move := func(m *Model, port, netns string) (*Model, Changes) {
		next := m.Clone()
		p := *m.Ports.At(port)
		p.NetNS = netns
		next.Ports.Put(port, &p)
		c := next.Since(m)
		next.NormalizeSince(c)
		return next, c
	}
	half, c := move(old, "v0", "blue")
	if half.CheckSince(old, c) == nil || half.CheckEnds() == nil || half.Check() == nil {
		t.Error("two ports have an eth0 in blue")
	}
	if err := half.CheckStep(old, c); err != nil {
		t.Errorf("a step: %v", err)
	}
	whole, c := move(half, "v1", "red")
	if err := whole.CheckStep(half, c); err != nil {
		t.Errorf("the other step: %v", err)
	}
	if err := whole.CheckEnds(); err != nil {
		t.Errorf("swapped: %v", err)
	}
}
