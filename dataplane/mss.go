package dataplane

import (
	"fmt"
	"strconv"

	"vtepd/dataplane/netdev"
	"vtepd/encap"
)

// MSSClamp says what happens to the MSS that a TCP connection announces when it opens: nothing, or it is lowered to what the way carries, or to a
// number of bytes, MinMSS to MaxMSS. It is never raised.
type MSSClamp uint16

const (
	// MSSDefault is the VNI's word for a port, and MSSAuto for a VNI.
	MSSDefault MSSClamp = iota
	// MSSAuto lowers to what fits both ways: the path MTU to the peer and the MTU of the port, less the headers of IP and TCP.
	MSSAuto
	// MSSOff leaves it alone.
	MSSOff
)

// MinMSS and MaxMSS bound a number, in bytes: below, headers outweigh the data; above, no IPv4 packet could hold it.
const (
	MinMSS = 64
	MaxMSS = 65535 - encap.MinIPv4TCPLen
)

func (m MSSClamp) String() string {
	switch m {
	case MSSDefault:
		return "default"
	case MSSAuto:
		return "auto"
	case MSSOff:
		return "off"
	}
	return strconv.Itoa(int(m))
}

func (m MSSClamp) check() error {
	if m > MSSOff && (m < MinMSS || m > MaxMSS) {
		return fmt.Errorf("mss-clamp %d: must be auto, off or %d..%d: %w", m, MinMSS, MaxMSS, ErrInvalid)
	}
	return nil
}

// clamping is what may become of the MSS in a VNI, whatever the ports and peers that a frame goes between. The zero value is nothing.
type clamping struct {
	on     bool
	byPath bool // paths to peers count
	// What announces no more than these is left alone, but for paths to peers; over IPv4 and IPv6, in bytes.
	least4, least6 uint16
}

// clampingOf says what the settings of a VNI and of its ports come to.
func clampingOf(vni MSSClamp, ports []*port) clamping {
	c := clamping{least4: MaxMSS, least6: MaxMSS}
	mtu := 0
	lower := func(m MSSClamp) {
		switch {
		case m == MSSAuto:
			c.on, c.byPath = true, true
		case m >= MinMSS:
			c.on, c.least4, c.least6 = true, min(c.least4, uint16(m)), min(c.least6, uint16(m))
		}
	}
	lower(vni)
	for _, p := range ports {
		lower(p.mss)
		mtu = narrower(mtu, p.maxFrame-encap.EthernetLen)
	}
	switch {
	case !c.on:
		return clamping{}
	case c.byPath && mtu > 0:
		c.least4 = min(c.least4, clampTo(mtu, encap.MinIPv4TCPLen))
		c.least6 = min(c.least6, clampTo(mtu, encap.MinIPv6TCPLen))
	}
	return c
}

// clampTo is the MSS that packets of mtu bytes have room for behind headers.
func clampTo(mtu, headers int) uint16 { return uint16(min(max(mtu-headers, MinMSS), MaxMSS)) }

// clampToPort lowers the MSS of a frame that opens a TCP connection to what its two ends take, the port that it goes to being one of them.
func (w *worker) clampToPort(f *frame, p *port) {
	if !f.off.IsGSO() && encap.OpensTCP(f.bytes(), f.parse()) {
		w.clampMSS(f, p.mss, p.maxFrame-encap.EthernetLen)
	}
}

// clampToPeers is clampToPort for a frame that goes to peers, of which the one with the narrowest path counts.
func (w *worker) clampToPeers(f *frame, peers []*peer) {
	if f.off.IsGSO() || !encap.OpensTCP(f.bytes(), f.parse()) {
		return
	}
	mtu := 0
	for _, p := range peers {
		mtu = narrower(mtu, p.maxFrame()-int(f.layout.L3))
	}
	w.clampMSS(f, MSSDefault, mtu)
}

// narrower is the lower of two MTUs, of which those not above 0 are not known.
func narrower(a, b int) int {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}

// clampMSS lowers the MSS of a frame that goes to a port with a setting of its own, or to a peer, by a way that carries packets of mtu bytes (0: not
// known). A port's setting replaces the VNI's for what comes from it and what goes to it; where both ports of a frame have one, the lower
// value results.
func (w *worker) clampMSS(f *frame, to MSSClamp, mtu int) {
	from := MSSDefault
	switch {
	case !f.wire:
		from = f.port.mss
		mtu = narrower(mtu, f.port.maxFrame-encap.EthernetLen)
	case f.peer != nil:
		mtu = narrower(mtu, f.peer.maxFrame()-int(f.layout.L3))
	}
	if from == MSSDefault && to == MSSDefault {
		from = f.domain.mss
	}
	most := 0
	for _, m := range [...]MSSClamp{from, to} {
		switch {
		case m == MSSAuto && mtu > 0:
			headers := encap.MinIPv4TCPLen
			if f.layout.Flags&encap.LayoutIPv6 != 0 {
				headers = encap.MinIPv6TCPLen
			}
			most = narrower(most, int(clampTo(mtu, headers)))
		case m >= MinMSS:
			most = narrower(most, int(m))
		}
	}
	if most > 0 && !netdev.CoversHeaders(int(f.layout.Payload)) {
		w.flushPosts() // a copy that waits there has the checksum of what it announces
	}
	if most > 0 && encap.ClampMSS(f.bytes(), &f.layout, uint16(most), f.off.NeedsChecksum()) {
		w.answers.clamped.Add(1)
	}
}
