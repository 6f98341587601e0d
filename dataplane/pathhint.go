package dataplane

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
)

// verifyPause is the least time between two verifications of one path.
const verifyPause = 100 * time.Millisecond

// watchHints hears ICMP errors about datagrams that no socket of ours sent, which the eBPF fast path did, and which the kernel therefore does not
// believe. Neither do we: anybody can forge one. A hint makes us send a datagram of that size from a socket; if there is a router that cannot
// carry it, it says so again, and now the kernel learns.
func (s *Switch) watchHints(ctx context.Context, hints *underlay.Hints) {
	defer hints.Close()
	context.AfterFunc(ctx, hints.End)
	tx := s.sockets[familyOf(hints.Local())].NewTransmitter()
	for ctx.Err() == nil {
		h, ok := hints.Next()
		if !ok {
			continue
		}
		if p := s.peers.find(h.Dest); p != nil && s.paths.doubt(p, h.MTU) {
			s.verify(tx, p)
		}
		time.Sleep(errorPause)
	}
}

// doubt says whether a hint is news, and not one of many within a moment.
func (s *paths) doubt(p *peer, mtu int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if known := p.path.current(); known == 0 || mtu >= known || now.Sub(p.path.verified) < verifyPause {
		return false
	}
	p.path.verified = now
	return true
}

// verify sends a datagram as large as the path is believed to carry, with a frame inside that nobody forwards (encap.Probe).
func (s *Switch) verify(tx *underlay.Transmitter, p *peer) {
	limit := p.maxFrame()
	s.mu.Lock()
	_, d := s.probeTarget(p.addr.Addr())
	s.mu.Unlock()
	if d == nil || limit < encap.ProbeLen {
		return
	}
	b := make([]byte, encap.VXLANLen+limit)
	d.header.Put(b)
	encap.Probe(b[encap.VXLANLen:]).Encode(encap.ProbeQuestion, s.probeSource, rand.Uint64(), uint32(limit))
	tx.Queue(p.dest, d.class, rand.Uint32(), b, nil, 0)
	tx.Flush(nil)
}

// openHints listens for each address, in the namespace of the calling thread. Without CAP_NET_RAW there are none: the fast path then learns of narrow
// paths from what passes user space.
func openHints(locals []netip.Addr) (list []*underlay.Hints, err error) {
	for _, a := range locals {
		h, e := underlay.OpenHints(a)
		if e != nil {
			err = e
			continue
		}
		list = append(list, h)
	}
	return list, err
}
