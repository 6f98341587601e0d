package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/dataplane/netdev"
)

// packetPort adds a port of a kind of packet socket on a node, with a workload in a namespace of its own behind it, and gives that.
//
//	workload                     node
//	eth0 198.51.100.N ── veth ── NAME ── switch
func (n *node) packetPort(l *lab.Lab, kind PortType, name string, vni uint32, mtu int, change func(*PortConfig)) *lab.Host {
	n.t.Helper()
	c := PortConfig{Name: name, Type: kind, Untagged: vni}
	var workload *lab.Host
	if kind == PortNetdev {
		workload = l.Workload(n.Host, n.Host.Name()[:1]+name, name, mtu)
		n.Must("ip", "link", "set", name, "mtu", "1500")
	} else {
		workload = l.Host(n.Host.Name()[:1] + name)
		c.NetNS, c.MTU, c.Addresses = workload.Name(), mtu, workload.OverlayPrefixes()
	}
	if change != nil {
		change(&c)
	}
	n.do(func() error { return n.AddPort(c) })
	return workload
}

// wantsWithout fails unless a capability is off, and says why.
func (n *node) wantsWithout(capability string) {
	n.t.Helper()
	for _, c := range n.Status().Offload {
		if c.Name == capability {
			if c.On || c.Reason == "" {
				n.t.Errorf("refused, and yet: %+v", c)
			}
			return
		}
	}
	n.t.Errorf("status has no %s", capability)
}

// The kernel's vxlan device is the other end of ports that are packet sockets, on every rung of what the kernel may refuse them.
//
//	eth0 198.51.100.3 ══ port0 ── switch ── eth0 ══ eth0 ── vxlan42 198.51.100.2 (kernel)
//	   (workload)
func TestKernelPeerPacketPorts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		kind     PortType
		refuse   netdev.Refuse
		off      bool
		transfer int // MB each way
		without  string
		veth     bool // as in TestKernelPeer
	}{
		{name: "netdev", kind: PortNetdev, transfer: 200},
		{name: "veth", kind: PortVeth, transfer: 200},
		{name: "veth, plain underlay", kind: PortVeth, transfer: 60, veth: true},
		{name: "netdev, offload off", kind: PortNetdev, off: true, transfer: 20, without: "packet-vnet-hdr"},
		{name: "veth, offload off", kind: PortVeth, off: true, transfer: 20, without: "packet-vnet-hdr"},
		{name: "netdev, no vnet header", kind: PortNetdev, refuse: netdev.Refuse{VnetHdr: true}, transfer: 20, without: "packet-vnet-hdr"},
		{name: "veth, no vnet header", kind: PortVeth, refuse: netdev.Refuse{VnetHdr: true}, transfer: 20, without: "packet-vnet-hdr"},
		{name: "no USO", kind: PortVeth, refuse: netdev.Refuse{USO: true}, transfer: 20, without: "packet-uso"},
		{name: "no fanout", kind: PortVeth, refuse: netdev.Refuse{Fanout: true}, transfer: 20, without: "packet-multi-queue"},
		{name: "own frames shown", kind: PortNetdev, refuse: netdev.Refuse{IgnoreOutgoing: true}, transfer: 20},
		{name: "own frames shown, no fanout", kind: PortNetdev, refuse: netdev.Refuse{IgnoreOutgoing: true, Fanout: true}, transfer: 20},
		{name: "no tcx", kind: PortVeth, refuse: netdev.Refuse{TCX: true}, transfer: 20},
		{name: "no sink", kind: PortNetdev, refuse: netdev.Refuse{TCX: true, ClsBPF: true}, transfer: 20, without: "packet-sink"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab.New(t)
			ha, hk := l.Host("vtepd"), l.Host("kernel")
			link := l.Link(ha, hk, lab.LinkOptions{})
			if !c.veth {
				link.ChecksumsOff()
			}
			a := startNode(t, ha, func(conf *Config) { conf.refuseNetdev, conf.Offload = c.refuse, !c.off })
			a.vni(42, hk.Underlay4())
			work := a.packetPort(l, c.kind, "port0", 42, 1450, nil)
			device := hk.VXLAN(lab.VXLANOptions{VNI: 42, Local: hk.Underlay4(), Peers: []netip.Addr{ha.Underlay4()}, MTU: 1450})
			hk.Addr(device, hk.OverlayPrefixes()...)
			if c.without != "" {
				a.wantsWithout(c.without)
			}
			pinger := newPinger(t, work, hk.Overlay4())
			for size := 0; size <= 1422; size += 23 {
				pinger.ping(size)
			}
			for _, size := range []int{1421, 1422, 1423, 2000, 8972, 40001, 65507} {
				pinger.ping(size)
			}
			eventually(t, "IPv6 works", func() bool {
				_, err := work.Command("ping", "-n", "-q", "-c", "1", "-W", "1", hk.Overlay6().String())
				return err == nil
			})
			for _, way := range []struct {
				name     string
				from, to *lab.Host
				server   netip.Addr
			}{
				{"to the kernel", work, hk, hk.Overlay4()},
				{"from the kernel", hk, work, work.Overlay4()},
				{"to the kernel, inner IPv6", work, hk, hk.Overlay6()},
				{"from the kernel, inner IPv6", hk, work, work.Overlay6()},
			} {
				mb := c.transfer
				if way.server.Is6() {
					mb = min(mb, 20)
				}
				elapsed := transfer(t, way.from, way.to, way.server, mb<<20)
				t.Logf("%s: %d MB in %s: %.2f Gb/s", way.name, mb, elapsed.Round(time.Millisecond), float64(mb)*8*1.048576/1000/elapsed.Seconds())
			}
			rest(a)
			a.balance()
			for _, d := range a.Drops() {
				switch d.Reason {
				case LinkLocalMulticast, NoDestination:
				case FastPathBusy: // where the tests leave too little of the processors, as the kernel's own devices lose segments; TCP sends them again
				default:
					t.Errorf("dropped: %+v", d)
				}
			}
		})
	}
}
