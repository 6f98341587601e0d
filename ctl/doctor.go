package ctl

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// doctorMTU probes the path to a peer.
func (s *server) doctorMTU(w http.ResponseWriter, r *http.Request) error {
	var spec api.DoctorSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	peer, err := needed("peer", spec.Peer, model.ParsePeer)
	if err != nil {
		return err
	}
	p, err := s.c.sw.ProbePath(r.Context(), peer.Addr())
	if errors.Is(err, dataplane.ErrNotFound) {
		return noPeer(netip.AddrPortFrom(peer.Addr(), 0))
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, diagnose(p))
}

// diagnose says in words what probing a path found, and what to change.
func diagnose(p dataplane.PathProbe) api.PathDiagnosis {
	peer := p.Peer.Addr()
	d := api.PathDiagnosis{
		Peer: peer.String(), OK: true, Evidence: string(p.Evidence), VNI: p.VNI, Fits: p.Fits, Inside: p.Inside, RouteMTU: p.Tried, PMTU: p.Learned,
		Findings: []string{},
	}
	for _, name := range slices.Sorted(maps.Keys(p.Ports)) {
		d.Ports = append(d.Ports, api.PortMTU{Port: name, MTU: p.Ports[name].MTU})
	}
	found := func(format string, args ...any) { d.Findings = append(d.Findings, fmt.Sprintf(format, args...)) }
	advise := func(format string, args ...any) { d.Advice = append(d.Advice, fmt.Sprintf(format, args...)) }
	unsent := func() {
		d.OK = false
		found("this host does not let datagrams of VXLAN leave for UDP port %d: %v", p.Peer.Port(), p.Unsent)
		if errors.Is(p.Unsent, unix.EPERM) {
			advise("have the packet filter here let UDP to port %d out: nft list ruleset", p.Peer.Port())
		} else {
			advise("see nft list ruleset and ip rule: marks and rules by protocol or port may lead datagrams elsewhere than ip route get %s", peer)
		}
	}
	switch {
	case p.Into != "":
		d.OK = false
		found("the route to the peer leads into port %s, which is the overlay itself: nothing can get there", p.Into)
		advise("name the peer by its address in the underlay, or give that a route beside the overlay: ip route get %s", peer)
		return d
	case p.Away:
		d.OK = false
		found("%s", p.NoRoute)
		advise("give it back to an interface, ip address add ..., or start vtepd with another local")
		return d
	case p.Tried == 0:
		d.OK = false
		found("nothing gets to the peer: %s", cmp.Or(p.NoRoute, "there is no route to it"))
		advise("see ip route get %s", peer)
		return d
	case p.Fits == 0 && p.Unsent != nil:
		unsent()
		return d
	case p.Fits == 0:
		d.OK = false
		found("nothing came back, not even for 128 bytes: the peer is down, or something on the way drops UDP port %d and ICMP echo", p.Peer.Port())
		if p.WithoutEcho != "" {
			found("ICMP echo could not be sent: %s", p.WithoutEcho)
		}
		advise("open UDP port %d between the hosts, and see ping %s", p.Peer.Port(), peer)
		return d
	}
	switch {
	case p.Unsent != nil:
		unsent()
	case p.Refused:
		d.OK = false
		found("the peer's host refuses UDP port %d: nothing listens for VXLAN there, or a packet filter rejects it", p.Peer.Port())
		advise("start a VTEP there, or name the port that it listens on: vtepctl peer add %s vni N dport PORT (Linux without dstport takes 8472)", peer)
	case p.Evidence == dataplane.EvidenceEcho:
		found("the peer's kernel answered ICMP echo; datagrams of VXLAN got no answer: no vtepd there, one that does not list this host, or a packet filter between")
	}
	switch {
	case p.Fits < p.Learned:
		d.OK = false
		found("a black hole: the path carries %d bytes and the hosts believe in %d, because nobody on the way says so", p.Fits, p.Learned)
		advise("have the network carry %d bytes, or let its ICMP errors pass (IPv4 type 3 code 4, IPv6 type 2)", p.Learned)
		advise("until then tell this host: ip route replace %s/%d ... mtu %d; ports without mtu follow, and so does mss-clamp auto", peer, peer.BitLen(), p.Fits)
	case p.Fits < p.Tried:
		found("the path carries %d bytes where interface and route have %d; routers say so, and senders inside are told %d", p.Fits, p.Tried, p.Inside)
		advise("nothing has to change; to spare every connection the first loss: ip route replace %s/%d ... mtu %d", peer, peer.BitLen(), p.Fits)
	default:
		found("the path carries what interface and route say: %d bytes, %d inside", p.Fits, p.Inside)
		for _, port := range d.Ports {
			d.OK = false
			found("port %s has MTU %d: larger packets than %d to this peer are dropped (too_big) and answered with ICMP", port.Port, port.MTU, p.Inside)
			mtu := "default"
			if !p.Ports[port.Port].Follows {
				mtu = strconv.Itoa(p.Inside)
			}
			advise("vtepctl port set %s mtu %s, or %d bytes on the underlay", port.Port, mtu, port.MTU+p.Fits-p.Inside)
		}
	}
	if p.Inside < 1280 {
		found("%d bytes inside are too few for IPv6, which needs 1280", p.Inside)
	}
	if !p.Clamped && p.Fits < p.Tried {
		advise("mss-clamp auto for the VNIs of this peer: TCP then opens with an MSS that fits")
	}
	return d
}
