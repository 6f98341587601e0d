package dataplane

import (
	"net/netip"

	"vtepd/encap"
)

// hiddenHeaders are the marks of a packet whose header chain cannot be followed to its end. A first fragment like that must be discarded by who
// receives it (RFC 7112 section 5), but not every stack does.
const hiddenHeaders = encap.LayoutTruncated | encap.LayoutMalformed

// guardSpoof keeps a station from playing VTEP: a datagram to the VXLAN port of a VTEP that leaves a port, and is routed onto the underlay
// somewhere, would put any frame into any VNI in the name of this host's network. Overlays between the stations themselves pass. Later fragments cannot
// be judged; without their first they are worth nothing.
func (w *worker) guardSpoof(f *frame) Reason {
	if !f.domain.spoofGuard {
		return ReasonNone
	}
	l := f.parse()
	switch {
	case l.Proto == encap.ProtoUDP && l.Payload != 0:
		if !w.s.peers.dports.has(encap.UDP(f.bytes()[l.L4:]).DstPort()) {
			return ReasonNone
		}
	case (l.L4 == 0 || l.Proto == encap.ProtoUDP) && l.Flags&encap.LayoutIPv6 != 0 && l.Flags&hiddenHeaders != 0:
		// Whether it is UDP cannot be known: the address decides.
	default:
		return ReasonNone
	}
	if w.s.isVTEP(innerDestination(f.bytes()[l.L3:], l)) {
		return VXLANSpoof
	}
	return ReasonNone
}

// innerDestination reads the destination address of the IP header at the front of b.
func innerDestination(b []byte, l *encap.Layout) netip.Addr {
	if l.Flags&encap.LayoutIPv4 != 0 {
		return netip.AddrFrom4([4]byte(b[16:20]))
	}
	return netip.AddrFrom16([16]byte(b[24:40])).Unmap()
}

// isVTEP says whether an underlay address is one of our own or a peer's, or a group that peers hear. Workers call it.
func (s *Switch) isVTEP(a netip.Addr) bool {
	return s.isLocal(a) || s.peers.knows(a)
}

// vteps lists the addresses of which isVTEP says yes; some may be in it twice.
func (s *Switch) vteps() []netip.Addr {
	var list []netip.Addr
	for _, a := range []netip.Addr{s.config.Local, s.config.OtherLocal} {
		if a.IsValid() {
			list = append(list, a)
		}
	}
	for _, p := range s.peers.all() {
		list = append(list, p.addr.Addr())
	}
	return list
}

// knows says whether there is a peer of that address, whatever its port.
func (r *registry) knows(a netip.Addr) bool {
	for p := r.bucket(a).Load(); p != nil; p = p.next.Load() {
		if p.addr.Addr() == a {
			return true
		}
	}
	return false
}
