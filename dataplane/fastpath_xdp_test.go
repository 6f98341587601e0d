package dataplane

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	ebpflink "github.com/cilium/ebpf/link"

	"vtepd/bench/lab"
)

// onlooker is an XDP program that counts what a device's driver is given, and lets it pass.
type onlooker struct {
	t    *testing.T
	seen *ebpf.Map
	link ebpflink.Link
}

func newOnlooker(t *testing.T, h *lab.Host, ifname string) *onlooker {
	t.Helper()
	o := &onlooker{t: t}
	err := h.Do(func() (err error) {
		if o.seen, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
			return err
		}
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4), asm.LoadMapPtr(asm.R1, o.seen.FD()),
			asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "out"), asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
			asm.Mov.Imm(asm.R0, 2).WithSymbol("out"), asm.Return(), // XDP_PASS
		}})
		if err != nil {
			return err
		}
		defer p.Close()
		o.link, err = ebpflink.AttachXDP(ebpflink.XDPOptions{Program: p, Interface: h.Index(ifname), Flags: ebpflink.XDPDriverMode})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.link.Close(); o.seen.Close() })
	return o
}

func (o *onlooker) count() (n uint64) {
	o.t.Helper()
	if err := o.seen.Lookup(uint32(0), &n); err != nil {
		o.t.Fatal(err)
	}
	return n
}

// TestFastPathIsSeenByXDP: an XDP program of the workload's, at a TAP or the workload's end of a pair, sees what comes to it, from peers and from other ports: it
// may be a packet filter, or have the frames for itself (AF_XDP).
//
//	port0 ── switch ── eth0 ══ eth0 ── switch ── port0 (XDP)
func TestFastPathIsSeenByXDP(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		t.Run(string(kind), func(t *testing.T) {
			_, nodes, w := fastPair(t, kind, nil)
			ifname := map[PortType]string{PortTAP: "port0", PortVeth: "eth0", PortNetdev: "eth0"}[kind]
			carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			const round = 20
			o := newOnlooker(t, w[1], ifname)
			eventually(t, fmt.Sprintf("the program sees %d frames", round), func() bool {
				before := o.count()
				pings(t, w[0], w[1].Overlay4(), round)
				return o.count()-before >= round
			})
			if err := o.link.Close(); err != nil {
				t.Fatal(err)
			}
			carriedPings(t, w[0], w[1].Overlay4(), nodes[:]...)
			for _, n := range nodes {
				n.balance()
			}
		})
	}
}
