package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// Open vSwitch carries Ethernet in VXLAN-GPE, which the kernel's device does not: it takes our headers and we take its. (Its userspace datapath drops group
// policy as of 3.1.)
//
//	vtep0 198.51.100.1 ── switch ── eth0 ══ eth0 ── br-phy ┄ vxlan0 ── br-int 198.51.100.2 (Open vSwitch, userspace datapath)
func TestGPEWithOpenVSwitch(t *testing.T) {
	if err := lab.OVSInstalled(); err != nil {
		t.Skip(err)
	}
	l := lab.New(t)
	ha, ho := l.Host("vtepd"), l.Host("ovs")
	link := l.Link(ha, ho, lab.LinkOptions{})
	link.ChecksumsOff()
	a := startNode(t, ha, nil)
	a.do(func() error {
		return a.SetVNI(VNIConfig{VNI: 42, Learning: true, Peers: []netip.AddrPort{peerAt(ho.Underlay4())}, Header: HeaderPolicy{GPE: true, StrictReserved: true}})
	})
	a.tap("vtep0", 42, func(c *PortConfig) { c.Addresses = ha.OverlayPrefixes() })
	ovs := ho.OVS()
	workload := ovs.VXLAN(link.B.Name, 42, ha.Underlay4())
	if err := ovs.Vsctl("set", "interface", "vxlan0", "options:dst_port=4789", "options:exts=gpe"); err != nil {
		t.Fatal(err)
	}
	ho.Addr(workload, ho.OverlayPrefixes()...)
	sniffer := ha.Sniff(link.A.Name)
	eventually(t, "a ping passes", func() bool {
		_, err := ha.Command("ping", "-n", "-q", "-c", "1", "-W", "1", ho.Overlay4().String())
		return err == nil
	})
	seen := 0
	for {
		f, ok := sniffer.Next(100 * time.Millisecond)
		if !ok {
			break
		}
		const at = encap.EthernetLen + encap.IPv4MinLen + encap.UDPLen
		if len(f.Data) > at+4 && [4]byte(f.Data[26:30]) == ho.Underlay4().As4() && binary.BigEndian.Uint32(f.Data[at:]) == 0x0c000003 {
			seen++
		}
	}
	if seen == 0 {
		t.Error("Open vSwitch sent no GPE header")
	}
	rest(a)
	a.balance()
}
