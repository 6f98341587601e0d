package xdp

import (
	"testing"

	"github.com/cilium/ebpf"
)

// TestMarkStays: a mark means something to the host that gave it. What is carried leaves without, as from user space; what is not carried goes on as it came.
func TestMarkStays(t *testing.T) {
	const mark = 0x77
	for _, c := range []struct {
		name string
		dst  [6]byte
		want uint32
	}{{"to a peer", macB, 0}, {"to a port", macD, 0}, {"to user space", macNone, mark}} {
		b := newBench(t, nil)
		frame := known().frame(c.dst, macA)
		var after skb
		o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: skb{Mark: mark, Ifindex: loopback}, ContextOut: &after}
		if _, err := b.objects.VtepdTap.Run(o); err != nil {
			t.Fatal(err)
		}
		if after.Mark != c.want {
			t.Errorf("%s: mark %#x, want %#x", c.name, after.Mark, c.want)
		}
	}
}
