package xdp

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// tagged makes the station tag what it sends with VID 10 and take that tag off what it gets, on a port that carries the VNI so.
func (st *station) tagged(native bool) *station {
	st.t.Helper()
	const vid = 10
	push := asm.Instructions{
		asm.Mov.Imm(asm.R2, int32(wire16(0x8100))), asm.Mov.Imm(asm.R3, vid), asm.FnSkbVlanPush.Call(), asm.Mov.Imm(asm.R0, -1), asm.Return(),
	}
	pop := asm.Instructions{asm.FnSkbVlanPop.Call(), asm.Mov.Imm(asm.R0, -1), asm.Return()}
	err := st.host.Do(func() error {
		for at, code := range map[ebpf.AttachType]asm.Instructions{ebpf.AttachTCXEgress: push, ebpf.AttachTCXIngress: pop} {
			p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: code, License: "MIT"})
			if err != nil {
				return err
			}
			defer p.Close()
			l, err := link.AttachTCX(link.TCXOptions{Interface: st.host.Index(st.dev), Program: p, Attach: at, Anchor: link.Head()})
			if err != nil {
				return err
			}
			st.t.Cleanup(func() { l.Close() })
		}
		return nil
	})
	if err != nil {
		st.t.Fatal(err)
	}
	if native {
		st.port.NativeVID = vid
	} else {
		st.port.Untagged, st.port.Tagged = 0, []VIDMap{{VID: vid, VNI: testVNI}, {VID: 11, VNI: 11}}
	}
	if err := st.f.PutPort(st.port); err != nil {
		st.t.Fatal(err)
	}
	return st
}

// TestTags carries traffic of tagged ports over the underlay: the tag stays at the port.
func TestTags(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tap", "veth"} {
		for _, wire := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-wire-%v", kind, wire), func(t *testing.T) {
				a, b := newSides(t, false, wire, nil)
				var sa, sb *station
				if kind == "tap" {
					sa, sb = a.tap("tap0", 1450), b.tap("tap0", 1450)
				} else {
					sa, sb = a.veth("wa", 1450), b.veth("wb", 1450)
				}
				sa.tagged(false)
				meet(sa, sb)
				carries(t, sa, sb)
				// A port counts what comes in with its tag, 4 bytes a frame, and what goes out without.
				ca, cb := a.f.PortCounters(portIndex), b.f.PortCounters(portIndex)
				pa := a.f.PeerCounters(peerIndex)
				if ca.RxPackets != cb.TxPackets || ca.TxPackets != cb.RxPackets || ca.RxBytes != pa.TxBytes+4*ca.RxPackets || ca.TxBytes != pa.RxBytes {
					t.Errorf("port a %+v, peer %+v, port b %+v", ca, pa, cb)
				}
			})
		}
	}
}

// TestNativeTag takes frames that carry the native VLAN's tag for untagged ones.
func TestNativeTag(t *testing.T) {
	a, b := newSides(t, false, false, nil)
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	sa.tagged(true)
	meet(sa, sb)
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Error(err)
	}
	// An access port does not take its own VID.
	sa.port.NativeVID = 0
	if err := a.f.PutPort(sa.port); err != nil {
		t.Fatal(err)
	}
	before := a.f.Totals()
	if sa.pingInVain(sb.host.Overlay4()) {
		t.Error("answered, though the port does not take the VID")
	}
	if after := a.f.Totals(); after.Encap != before.Encap || after.Punted["tagged"] < before.Punted["tagged"]+5 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestLocal carries traffic between ports of one host, of every pair of kinds, tagged and not.
//
//	station ── port ── side a ── port ── station
func TestLocal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		first, second string
		tagA, tagB    bool
		asNetdev      bool
	}{
		{name: "veth to veth", first: "veth", second: "veth"},
		{name: "veth to netdev", first: "veth", second: "veth", asNetdev: true},
		{name: "tap to veth", first: "tap", second: "veth"},
		{name: "tagged to untagged", first: "veth", second: "veth", tagA: true},
		{name: "tagged to tagged", first: "veth", second: "veth", tagA: true, tagB: true},
		{name: "tagged tap to veth", first: "tap", second: "veth", tagA: true},
		{name: "tap to tagged veth", first: "tap", second: "veth", tagB: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := newSides(t, false, false, nil)
			var sa *station
			if c.first == "tap" {
				sa = a.tap("tap0", 1450)
			} else {
				sa = a.veth("wa", 1450)
			}
			sb := a.veth("wb", 1450)
			if c.asNetdev {
				sb.port.Kind = Netdev
				if err := a.f.PutPort(sb.port); err != nil {
					t.Fatal(err)
				}
			}
			if c.tagA {
				sa.tagged(false)
			}
			if c.tagB {
				sb.tagged(false)
			}
			meet(sa, sb)
			carries(t, sa, sb)
			total, pa, pb := a.f.Totals(), a.f.PortCounters(sa.port.Index), a.f.PortCounters(sb.port.Index)
			if total.Local != pa.RxPackets+pb.RxPackets || total.Encap+total.Decap+total.Races+total.Busy != 0 {
				t.Errorf("%+v, ports %+v %+v", total, pa, pb)
			}
			// What a port sends counts as it arrived, with the tag it had there.
			if pa.RxPackets != pb.TxPackets || pa.RxBytes != pb.TxBytes || pb.RxPackets != pa.TxPackets || pb.RxBytes != pa.TxBytes {
				t.Errorf("ports %+v %+v", pa, pb)
			}
			if v := a.f.VNICounters(testVNI); v.RxPackets != total.Local || v.TxPackets != total.Local || v.RxBytes != v.TxBytes {
				t.Errorf("vni %+v", v)
			}
		})
	}
}
