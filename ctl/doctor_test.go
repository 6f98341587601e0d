package ctl

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/dataplane"
)

// What the doctor makes of what probing found: whether something is wrong, and the words that must be there.
func TestDiagnose(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.2:4789")
	healthy := dataplane.PathProbe{Peer: peer, VNI: 42, Evidence: dataplane.EvidenceProbe, Fits: 1500, Tried: 1500, Known: 1500, Learned: 1500, Inside: 1450, Clamped: true}
	with := func(change func(*dataplane.PathProbe)) dataplane.PathProbe { p := healthy; change(&p); return p }
	for _, c := range []struct {
		name   string
		probe  dataplane.PathProbe
		ok     bool
		found  string
		advice string // empty: none
	}{
		{"healthy", healthy, true, "1500 bytes, 1450 inside", ""},
		{"black hole", with(func(p *dataplane.PathProbe) { p.Fits, p.Inside = 1400, 1350 }), false, "a black hole: the path carries 1400 bytes", "mtu 1400"},
		{"narrow and said so", with(func(p *dataplane.PathProbe) { p.Fits, p.Inside, p.Learned = 1400, 1350, 1400 }), true, "routers say so", "mtu 1400"},
		{"narrow and not clamped", with(func(p *dataplane.PathProbe) { p.Fits, p.Inside, p.Learned, p.Clamped = 1400, 1350, 1400, false }), true, "routers say so", "mss-clamp auto"},
		{"large port", with(func(p *dataplane.PathProbe) {
			p.Ports = map[string]dataplane.PortMTU{"tap0": {MTU: 1500, Follows: true}}
		}), false, "port tap0 has MTU 1500", "vtepctl port set tap0 mtu default, or 1550 bytes on the underlay"},
		{"large port found", with(func(p *dataplane.PathProbe) { p.Ports = map[string]dataplane.PortMTU{"vnet0": {MTU: 9000}} }), false, "port vnet0 has MTU 9000", "vtepctl port set vnet0 mtu 1450, or 9050 bytes on the underlay"},
		{"echo", with(func(p *dataplane.PathProbe) { p.Evidence = dataplane.EvidenceEcho }), true, "answered ICMP echo", ""},
		{"nothing", with(func(p *dataplane.PathProbe) { p.Evidence, p.Fits, p.Inside = dataplane.EvidenceNone, 0, 0 }), false, "nothing came back", "open UDP port 4789"},
		{"refused", with(func(p *dataplane.PathProbe) { p.Evidence, p.Refused = dataplane.EvidenceEcho, true }), false, "refuses UDP port 4789", "dport PORT"},
		{"filtered here", with(func(p *dataplane.PathProbe) {
			p.Evidence, p.Refused, p.Unsent = dataplane.EvidenceEcho, true, unix.EPERM
		}), false, "this host does not let datagrams of VXLAN leave for UDP port 4789: operation not permitted", "nft list ruleset"},
		{"filtered here, no echo", with(func(p *dataplane.PathProbe) {
			p.Evidence, p.Fits, p.Inside, p.Unsent = dataplane.EvidenceNone, 0, 0, unix.EHOSTUNREACH
		}), false, "this host does not let datagrams of VXLAN leave for UDP port 4789: no route to host", "ip rule"},
		{"inside", dataplane.PathProbe{Peer: peer, Tried: 1450, Into: "tap0"}, false, "leads into port tap0", "its address in the underlay"},
		{"no route", dataplane.PathProbe{Peer: peer, Evidence: dataplane.EvidenceNone}, false, "no route", "ip route get 192.0.2.2"},
		{"blackhole", dataplane.PathProbe{Peer: peer, Evidence: dataplane.EvidenceNone, NoRoute: "its route is of type blackhole"}, false, "blackhole", "ip route get 192.0.2.2"},
		{"own address gone", with(func(p *dataplane.PathProbe) {
			p.NoRoute, p.Away = "the own address 192.0.2.1 is on no interface", true
		}), false, "the own address 192.0.2.1 is on no interface", "ip address add"},
		{"too narrow for IPv6", with(func(p *dataplane.PathProbe) { p.Fits, p.Inside, p.Tried, p.Learned = 1300, 1250, 1300, 1300 }), true, "too few for IPv6", ""},
	} {
		d := diagnose(c.probe)
		found, advice := strings.Join(d.Findings, "\n"), strings.Join(d.Advice, "\n")
		if d.OK != c.ok || !strings.Contains(found, c.found) {
			t.Errorf("%s: ok %t, found %q; want ok %t, %q", c.name, d.OK, found, c.ok, c.found)
		}
		if (c.advice == "") != (advice == "") || !strings.Contains(advice, c.advice) {
			t.Errorf("%s: advice %q, want %q", c.name, advice, c.advice)
		}
	}
}
