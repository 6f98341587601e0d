package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

const (
	// interopSize is what TCP carries each way, in bytes.
	interopSize = 100 << 20
	// smallestPing is the data of the first echo request, in bytes: that of ping(8).
	smallestPing = 56
	// maxLost is how many pings of a sweep may be lost to queues of a busy machine.
	maxLost = 2
	// underlayMTU is that of a link of the lab, in bytes.
	underlayMTU = 1500
)

// stranger is a VTEP that is not vtepd.
type stranger struct {
	name      string
	installed func() error
	// join joins a host to VNI 42 and returns the interface that the host uses it by.
	join func(k *lab.Host, own, vtepd netip.Addr, mtu int) (workload string)
	// finished has the link finish checksums, for a stranger that reads the underlay by a packet socket.
	finished bool
	// vni is what vtepd's file says of the VNI; nil: the stranger is its peer.
	vni func(theirs netip.Addr) string
	// port is what the file says of the port beside.
	port string
	// slow: what is agreed with the stranger keeps the VNI off the fast path.
	slow bool
}

// floodGroup is the multicast group of a VNI, of the family of an address.
func floodGroup(family netip.Addr) netip.Addr {
	if family.Is4() {
		return netip.MustParseAddr("239.1.1.42")
	}
	return netip.MustParseAddr("ff05::42")
}

var strangers = []stranger{
	{
		name:      "kernel",
		installed: func() error { return nil },
		join: func(k *lab.Host, own, vtepd netip.Addr, mtu int) string {
			return k.VXLAN(lab.VXLANOptions{VNI: 42, Local: own, Peers: []netip.Addr{vtepd}, MTU: mtu})
		},
	},
	{
		name:      "kernel with a group",
		installed: func() error { return nil },
		join: func(k *lab.Host, own, _ netip.Addr, mtu int) string {
			return k.VXLAN(lab.VXLANOptions{VNI: 42, Local: own, Group: floodGroup(own), Device: "eth0", MTU: mtu})
		},
		vni: func(theirs netip.Addr) string { return fmt.Sprintf("group: \"%v\"", floodGroup(theirs)) },
	},
	{
		name:      "kernel with group policy",
		installed: func() error { return nil },
		join: func(k *lab.Host, own, vtepd netip.Addr, mtu int) string {
			return k.VXLAN(lab.VXLANOptions{VNI: 42, Local: own, Peers: []netip.Addr{vtepd}, MTU: mtu, GBP: true})
		},
		vni:  func(theirs netip.Addr) string { return fmt.Sprintf("peers: [\"%v\"], gbp: true", theirs) },
		port: ", gbp-id: 7",
		slow: true,
	},
	{
		name:      "Open vSwitch",
		installed: lab.OVSInstalled,
		join: func(k *lab.Host, own, vtepd netip.Addr, mtu int) string {
			workload := k.OVS().VXLAN("eth0", 42, vtepd)
			k.MTU(workload, mtu)
			return workload
		},
		finished: true,
	},
}

// TestInterop joins vtepd to what is not vtepd: pings of every size from 56 bytes to beyond the MTU, with and without DF, from both ends, come back byte for
// byte, and a hundred megabytes of TCP each way arrive as they were sent. vtepd's own namespace fragments nothing meanwhile (RFC 7348 section 4.3).
//
//	tenant {vtep0 .1} ── vtepd on h {eth0} ══ {eth0} kernel or Open vSwitch on k {.2}
func TestInterop(t *testing.T) {
	t.Parallel()
	for _, other := range strangers {
		t.Run(other.name, func(t *testing.T) {
			if err := other.installed(); err != nil {
				t.Skip(err)
			}
			everySetting(t, func(t *testing.T, s setting, over family) { other.interoperates(t, s, over) })
		})
	}
}

func (o *stranger) interoperates(t *testing.T, s setting, over family) {
	l := lab.New(t)
	h, k, tenant := l.Host("h"), l.Host("k"), l.Host("tenant")
	link := l.Link(h, k, lab.LinkOptions{})
	if o.finished {
		link.ChecksumsOff()
	}
	own, theirs, mtu := h.Underlay4(), k.Underlay4(), underlayMTU-50
	if over.v6 {
		own, theirs, mtu = h.Underlay6(), k.Underlay6(), underlayMTU-70
	}
	vni := fmt.Sprintf("peers: [\"%v\"]", theirs)
	if o.vni != nil {
		vni = o.vni(theirs)
	}
	d := start(t, l, h, fmt.Sprintf("local: \"%v\"\n%svnis:\n- {vni: 42, %s}\nports:\n- {%s, vni: 42, netns: %s, addresses: [%v, \"%v\"]%s}\n",
		own, s.yaml, vni, s.port("vtep0"), tenant.Name(), tenant.OverlayPrefixes()[0], tenant.OverlayPrefixes()[1], o.port))
	workload := o.join(k, theirs, own, mtu)
	k.Addr(workload, k.OverlayPrefixes()...)
	reach(t, tenant, k.Overlay4())
	reach(t, k, tenant.Overlay6())

	for _, way := range []struct {
		from *lab.Host
		to   netip.Addr
	}{{tenant, k.Overlay4()}, {k, tenant.Overlay4()}, {tenant, k.Overlay6()}, {k, tenant.Overlay6()}} {
		sweep(t, way.from, way.to, mtu)
	}
	up, upEnd := connect(t, tenant, k, k.Overlay4())
	down, downEnd := connect(t, k, tenant, tenant.Overlay6())
	result := make(chan error, 2)
	go func() { result <- wrap("from vtepd", transfer(up, upEnd, interopSize, 1)) }()
	go func() { result <- wrap("to vtepd", transfer(down, downEnd, interopSize, 2)) }()
	for range 2 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}

	for _, drop := range d.list(t, "drops", "show") {
		if reason := drop["reason"]; reason != "link_local_multicast" && reason != "no_destination" {
			t.Errorf("dropped: %v", drop)
		}
	}
	if s.fast {
		// A hundred megabytes each way are 70,000 frames and more; what is known is carried, except toward peers that want a UDP checksum, as over IPv6.
		var status struct {
			FastPath struct{ Encap, Decap int }
		}
		if err := json.Unmarshal([]byte(d.tell(t, "-j", "status")), &status); err != nil {
			t.Fatal(err)
		}
		if f := status.FastPath; o.slow && (f.Encap > 0 || f.Decap > 0) {
			t.Errorf("the fast path carried %d frames to the stranger and %d from it in a VNI that is not its business", f.Encap, f.Decap)
		} else if !o.slow && (f.Decap < interopSize/2000 || f.Encap < interopSize/2000 && !over.v6) {
			t.Errorf("the fast path carried %d frames to the stranger and %d from it, want %d at least", f.Encap, f.Decap, interopSize/2000)
		}
	}
	for _, counter := range []string{"Ip: FragCreates", "Ip6FragCreates"} {
		if n := snmp(t, h, counter); n != "0" {
			t.Errorf("vtepd's namespace made fragments: %s %s", counter, n)
		}
	}
}

// sweep pings with every size. Up to the MTU one frame carries a packet, with DF and without; one byte more is refused by the sender's own stack with
// DF, and comes back in fragments of the inner packet without, to more than two MTUs.
func sweep(t *testing.T, from *lab.Host, to netip.Addr, mtu int) {
	t.Helper()
	p := newPinger(t, from, to)
	defer p.Close()
	largest := mtu - p.Headers()
	p.dontFragment(true)
	p.each(smallestPing, largest)
	for size := largest + 1; size <= largest+64; size++ {
		if err := p.Send(size); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("%s: ping of %d bytes with DF: %v, want %v", to, size, err, unix.EMSGSIZE)
		}
	}
	p.dontFragment(false)
	p.each(smallestPing, 2*mtu+64)
	for _, size := range []int{8972, 20001, 65507} {
		if to.Is4() {
			p.ping(size)
		}
	}
	if p.lost > maxLost {
		t.Errorf("%s: %d requests or answers were lost", to, p.lost)
	}
}

// each pings with every size from one to another, some at a time.
func (p *pinger) each(from, to int) {
	p.t.Helper()
	const window = 16
	var sizes []int
	for size := from; size <= to; size++ {
		if sizes = append(sizes, size); len(sizes) == window || size == to {
			p.ping(sizes...)
			sizes = sizes[:0]
		}
	}
}

// snmp reads a counter of a namespace: "Ip: FragCreates" of /proc/net/snmp, or one of /proc/net/snmp6.
func snmp(t *testing.T, h *lab.Host, counter string) string {
	t.Helper()
	if row, name, ok := strings.Cut(counter, " "); ok {
		var names, values []string
		for line := range strings.Lines(h.Must("cat", "/proc/net/snmp")) {
			if fields := strings.Fields(line); fields[0] == row {
				names, values = values, fields
			}
		}
		for i, n := range names {
			if n == name {
				return values[i]
			}
		}
	}
	for line := range strings.Lines(h.Must("cat", "/proc/net/snmp6")) {
		if fields := strings.Fields(line); fields[0] == counter {
			return fields[1]
		}
	}
	t.Fatalf("no counter %s", counter)
	return ""
}
