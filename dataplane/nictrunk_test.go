package dataplane

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	hook "github.com/cilium/ebpf/link"

	"vtepd/bench/lab"
)

// The fields of struct __sk_buff that a program reads a tag from (linux/bpf.h), and what it may answer.
const (
	skbVLANPresent = 20
	skbVLANTCI     = 24
	tcxPass        = 0
	tcxDrop        = 2
)

// speakVLAN makes an interface that of a host in a VLAN of a trunk: what it sends is tagged, as late as by a network card with superframes and
// checksums unfinished, and it hears nothing of other VLANs.
func speakVLAN(t *testing.T, h *lab.Host, ifname string, vid int32) {
	t.Helper()
	push := asm.Instructions{
		asm.Mov.Imm(asm.R2, 0x0081), // ETH_P_8021Q in network order, on a little-endian machine
		asm.Mov.Imm(asm.R3, vid),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, tcxPass),
		asm.Return(),
	}
	pop := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R1, skbVLANPresent, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "drop"),
		asm.LoadMem(asm.R2, asm.R1, skbVLANTCI, asm.Word),
		asm.And.Imm(asm.R2, vidMask),
		asm.JNE.Imm(asm.R2, vid, "drop"),
		asm.FnSkbVlanPop.Call(),
		asm.Mov.Imm(asm.R0, tcxPass),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcxDrop).WithSymbol("drop"),
		asm.Return(),
	}
	for at, instructions := range map[ebpf.AttachType]asm.Instructions{ebpf.AttachTCXEgress: push, ebpf.AttachTCXIngress: pop} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: instructions})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if err := h.Do(func() error {
			l, err := hook.AttachTCX(hook.TCXOptions{Interface: h.Index(ifname), Program: p, Attach: at})
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}); err != nil {
			t.Skipf("this test tags frames by tcx (Linux 6.6): %v", err)
		}
	}
}

// A host with a NIC that is a trunk: hosts in VLANs of the segment behind it and the workloads that have no tags reach each other, and superframes pass
// whole both ways.
//
//	h10 (VLAN 10) ──┐                                        ┌── web0 (VLAN 10) ══ eth0 web
//	                ├── br0 (segment) ══ nic0 trunk ── switch ┤
//	h20 (VLAN 20) ──┘                                        └── db0 (VLAN 20) ══ eth0 db
func TestNICAsTrunk(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	l.Link(host, wire, lab.LinkOptions{})
	n := startNode(t, host, nil)
	n.vni(10010)
	n.vni(10020)
	segment := l.Workload(host, "segment", "nic0", 1500)
	segment.Must("ip", "address", "flush", "dev", "eth0")
	vlans := []struct {
		workload, port string
		vni            uint32
		vid            int32
	}{{"web", "web0", 10010, 10}, {"db", "db0", 10020, 20}}
	var outside []*lab.Host
	bridged := []string{"eth0"}
	for _, v := range vlans {
		outside = append(outside, l.Workload(segment, "h"+v.port, "s"+v.port, 1500))
		bridged = append(bridged, "s"+v.port)
	}
	segment.Bridge("br0", bridged...)
	n.do(func() error {
		return n.AddPort(PortConfig{Name: "nic0", Type: PortNetdev, Tagged: []VIDMap{{10, 10010}, {20, 10020}}})
	})
	for i, v := range vlans {
		out, inside := outside[i], netip.AddrFrom4([4]byte{198, 51, 100, byte(200 + i)})
		speakVLAN(t, out, "eth0", v.vid)
		work := l.Host(v.workload)
		n.do(func() error {
			return n.AddPort(PortConfig{
				Name: v.port, Type: PortVeth, Untagged: v.vni, NetNS: work.Name(), MTU: 1500, Addresses: []netip.Prefix{netip.PrefixFrom(inside, 24)},
			})
		})
		pinger := newPinger(t, work, out.Overlay4())
		for _, size := range []int{0, 100, 1472, 3000, 20000} {
			pinger.ping(size)
		}
		for _, way := range []struct {
			from, to *lab.Host
			server   netip.Addr
		}{{work, out, out.Overlay4()}, {out, work, inside}} {
			before := n.Totals().Received
			elapsed := transfer(t, way.from, way.to, way.server, 60<<20)
			t.Logf("VLAN %d, server %s: %.1f Gb/s, %d frames", v.vid, way.server, 60*8*1.048576/1000/elapsed.Seconds(), n.Totals().Received-before)
		}
	}
	if out, err := outside[0].Command("ping", "-n", "-q", "-c", "1", "-W", "1", "198.51.100.201"); err == nil {
		t.Errorf("VLAN 10 reaches VLAN 20: %s", out)
	}
	rest(n)
	n.balance()
	for _, d := range n.Drops() {
		if d.Reason != LinkLocalMulticast && d.Reason != NoDestination && d.Reason != VLANNotAllowed { // the segment's bridge speaks without tags
			t.Errorf("dropped: %+v", d)
		}
	}
}
