package dataplane

import (
	"testing"

	"vtepd/bench/lab"
)

// TestTakeOverRemovesPairs: the pair of a port that is no longer configured goes with the takeover; that of a port that is stays, and is taken up.
func TestTakeOverRemovesPairs(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	w := l.Host("w")
	for _, pair := range [][2]string{{"gone0", "gone1"}, {"kept0", "kept1"}, {"other0", "other1"}} {
		h.Must("ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1])
		h.Must("ip", "link", "set", pair[0], "alias", "made by vtepd at /run/test.sock")
	}
	h.Must("ip", "link", "set", "other0", "alias", "made by vtepd at /run/other.sock")
	h.Must("ip", "link", "set", "kept1", "netns", w.Name())
	n := startNode(t, h, func(c *Config) { c.Instance = "/run/test.sock" })
	n.vni(42)
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "kept0", Type: PortVeth, NetNS: w.Name(), IfName: "kept1", Untagged: 42})
	})
	index := h.Index("kept0")
	n.do(n.TakeOver)
	if out, err := h.Command("ip", "link", "show", "gone0"); err == nil {
		t.Errorf("still there: %s", out)
	}
	if h.Index("kept0") != index || h.Index("other0") == 0 {
		t.Error("a pair went that is another's or a port")
	}
}
