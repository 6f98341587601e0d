package dataplane

import "net/netip"

// What a capture wants is asked twice: when a frame enters or leaves, by what is known then, so that nothing is copied in vain; and at the end of the batch, when
// its fate says the rest.

// isPeer says whether the capture names the peer.
func (c *capture) isPeer(p *peer) bool {
	want := c.filter.Peer
	return p != nil && want.Addr() == p.addr.Addr() && (want.Port() == 0 || want.Port() == p.addr.Port())
}

func (c *capture) isPort(p *port) bool { return p != nil && c.filter.Port == p.config.Name }

func (c *capture) namesPeer() bool { return c.filter.Peer.Addr().IsValid() }

func (c *capture) mayTakeFromPort(p *port) bool {
	return c.filter.Dir != CaptureOut && !c.namesPeer() && (c.filter.Port == "" || c.isPort(p))
}

func (c *capture) mayTakeFromWire(source netip.Addr) bool {
	return c.filter.Dir != CaptureOut && c.filter.Port == "" && (!c.namesPeer() || c.filter.Peer.Addr() == source)
}

// mayLeave is what toPort and toPeer have in common.
func (c *capture) mayLeave(vni uint32) bool {
	return c.filter.Dir != CaptureIn && !c.filter.Drops && (c.filter.VNI == 0 || c.filter.VNI == vni)
}

func (c *capture) mayTakeToPort(p *port, vni uint32) bool {
	if c.filter.Port == "" {
		return !c.namesPeer() && c.mayLeave(vni)
	}
	return c.isPort(p) && c.mayLeave(vni)
}

func (c *capture) mayTakeToPeer(p *peer, vni uint32) bool {
	if !c.namesPeer() {
		return c.filter.Port == "" && c.mayLeave(vni)
	}
	return c.isPeer(p) && c.mayLeave(vni)
}

// selects says whether the capture wants a record whose verdict is known. The frame of one that left came from a port or peer; both are nil where it is of our own
// making.
func (c *capture) selects(r *record, fromPort *port, fromPeer *peer) bool {
	f := &c.filter
	if f.VNI != 0 && f.VNI != r.vni {
		return false
	}
	if r.out {
		switch {
		case f.Dir == CaptureIn || f.Drops:
			return false
		case r.port != nil: // and a peer is named: it is where the frame came from
			return (f.Port == "" || c.isPort(r.port)) && (!c.namesPeer() || f.Port != "" && c.isPeer(fromPeer))
		}
		return (!c.namesPeer() || c.isPeer(r.peer)) && (f.Port == "" || c.namesPeer() && c.isPort(fromPort))
	}
	if f.Dir == CaptureOut || f.Drops && r.dropped == 0 {
		return false
	}
	if r.port != nil {
		return c.mayTakeFromPort(r.port)
	}
	// One that was refused is known by its address alone.
	return c.mayTakeFromWire(r.source) && (r.peer == nil || !c.namesPeer() || c.isPeer(r.peer))
}
