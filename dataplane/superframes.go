package dataplane

import (
	"errors"

	"vtepd/dataplane/device"
	"vtepd/encap"
)

// A superframe toward a peer leaves as messages of UDP GSO, which hold 44 datagrams of 1472 bytes. TCP fills a superframe of 64 KiB with 46 or 47 segments:
// one whole message, and two or three datagrams in another that costs as much to send, to receive and to join. So the interfaces of ports are told to make
// superframes that fill one message.

// superframer is a device whose superframes can be bounded.
type superframer interface {
	// SetSuperframes bounds the superframes of TCP over IPv4 and over IPv6 that leave the host through the interface, in bytes with the Ethernet header; 0 leaves
	// them to the kernel.
	SetSuperframes(ipv4, ipv6 int) error
}

const (
	// tcpReserve is what the kernel keeps back of a device's bound for headers, in bytes: MAX_TCP_HEADER + 1 (include/net/tcp.h, sk_dst_gso_max_size). It depends on
	// how the kernel was built; this is the most. Where it is less a superframe does not become a segment longer for it.
	tcpReserve = 321
	// Headers of a TCP segment without options, in bytes.
	tcpHeaders4 = encap.IPv4MinLen + encap.TCPMinLen
	tcpHeaders6 = encap.IPv6Len + encap.TCPMinLen
	// superframePolls is how many polls of the ports pass between two looks at what nothing announces: whether their hosts forward.
	superframePolls = 5
)

// superframesOf is what fits one message toward every peer of a port's VNIs. Nothing is to be bounded where there are no peers, where messages hold one
// datagram, or where superframes pass whole: on the fast path. Needs mu.
func (s *Switch) superframesOf(c *PortConfig, mtu int) (ipv4, ipv6 int) {
	if !s.reachesPeers(c) || s.fast.following.Load() && (c.Type != PortTAP || c.NetNS == "") {
		return 0, 0
	}
	n := device.Superframe
	for family, used := range s.familiesOf(c) {
		if u := s.sockets[family]; used && u != nil {
			n = min(n, u.RunLength(encap.VXLANLen+encap.EthernetLen+mtu))
		}
	}
	if n < 2 {
		return 0, 0
	}
	return min(n*(mtu-tcpHeaders4)+tcpReserve, device.Superframe), min(n*(mtu-tcpHeaders6)+tcpReserve, device.Superframe)
}

// boundSuperframes fits the superframes of a port to the underlay. Needs mu.
func (s *Switch) boundSuperframes(r *portRecord) {
	l := r.published.link
	if l == nil {
		return
	}
	dev, ok := l.dev.(superframer)
	if !ok || !l.caps.TSO4 && !l.caps.TSO6 {
		return
	}
	if err := dev.SetSuperframes(s.superframesOf(&r.published.config, l.mtu)); err != nil && !errors.Is(err, device.ErrGone) {
		s.log.Debug("superframes of a port stay as the kernel makes them", "port", r.published.config.Name, "reason", err)
	}
}
