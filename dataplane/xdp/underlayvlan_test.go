package xdp

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// TestUnderlayVLAN: a datagram with a VLAN tag belongs to another network than the underlay device's own, also where the tag is beside the frame, as a
// network card leaves it there, and XDP cannot see it.
func TestUnderlayVLAN(t *testing.T) {
	t.Parallel()
	for _, decap := range []DecapMode{TCX, XDPNative} {
		t.Run([...]string{"auto", "tcx", "xdp"}[decap], func(t *testing.T) {
			a, b := newSides(t, false, true, func(o *Options, _ *Domain) { o.Decap = decap })
			sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
			meet(sa, sb)
			if err := sa.ping(sb.host.Overlay4()); err != nil {
				t.Fatal(err)
			}
			before := b.f.PortCounters(portIndex).TxPackets
			a.do(func() error {
				push, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
					asm.Mov.Imm(asm.R2, 0x8100), asm.HostTo(asm.BE, asm.R2, asm.Half),
					asm.Mov.Imm(asm.R3, 200),
					asm.FnSkbVlanPush.Call(),
					asm.Mov.Imm(asm.R0, 0), // TCX_PASS
					asm.Return(),
				}})
				if err != nil {
					return err
				}
				t.Cleanup(func() { push.Close() })
				l, err := link.AttachTCX(link.TCXOptions{Program: push, Interface: a.host.Index(a.wire.Name), Attach: ebpf.AttachTCXEgress})
				if err == nil {
					t.Cleanup(func() { l.Close() })
				}
				return err
			})
			if sa.pingInVain(sb.host.Overlay4()) {
				t.Error("answered through a VLAN")
			}
			if n := b.f.PortCounters(portIndex).TxPackets - before; n != 0 {
				t.Errorf("%d frames came out of a VLAN of the underlay", n)
			}
		})
	}
}
