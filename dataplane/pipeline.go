package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
	"vtepd/fdb"
)

// frame is the frame that a worker is deciding on. Its bytes are borrowed from the batch.
type frame struct {
	// buf holds the frame from start on; at least encap.VXLANLen bytes before start may be overwritten when the frame came from a port.
	buf    []byte
	start  int
	off    encap.Offload
	layout encap.Layout
	parsed bool
	joined bool // was given to worker.join

	port *port // where it came from: a port, or the wire, and then perhaps a peer that is known
	peer *peer
	wire bool

	domain   *domain
	gbp      encap.GBP // 0 in a VNI without group policy
	priority uint16    // PCP and DEI of the tag that was taken off (802.1Q-2018 9.6)
	// tight is what the narrowest destination takes that the frame was too big for, in bytes; 0: it was for none. See answerTooBig.
	tight     int
	tightPeer bool   // one of them is a peer
	fate      uint32 // index into worker.fates
}

func (f *frame) bytes() []byte { return f.buf[f.start:] }

func (f *frame) reset(buf []byte, start int, off encap.Offload) {
	f.buf, f.start, f.off = buf, start, off
	f.parsed, f.joined, f.wire = false, false, false
	f.port, f.peer, f.domain = nil, nil, nil
	f.priority, f.gbp = 0, 0
	f.tight, f.tightPeer = 0, false
}

// parse makes the layout describe the frame as it is now.
func (f *frame) parse() *encap.Layout {
	if !f.parsed {
		f.layout.Parse(f.bytes())
		f.parsed = true
	}
	return &f.layout
}

// priorityMask selects PCP and DEI in a TCI, vidMask the VLAN ID.
const (
	priorityMask = 0xf000
	vidMask      = 0x0fff
)

// fromPort carries a frame that a port's device handed to us: buf[:start] is free, tap.Headroom bytes or more, and the frame follows.
func (w *worker) fromPort(p *port, buf []byte, start int, off encap.Offload) {
	f := &w.frame
	f.reset(buf, start, off)
	f.port = p
	packets, bytes := f.extent()
	w.open(uint16(p.index), noIndex, packets, bytes)
	if w.tape != nil {
		w.tapeFromPort(f)
	}
	w.portRx.add(&p.stats[w.id], uint64(packets), uint64(bytes))

	if reason := w.portStages(f); reason != ReasonNone {
		w.fates[f.fate].blame(reason)
	}
	if f.tight != 0 {
		w.answerTooBig(f)
	}
}

// oversized accounts for a frame of which the kernel had more than 64 KiB: a superframe of a host that allows larger ones (BIG TCP).
func (w *worker) oversized(p *port) {
	w.frame.reset(nil, 0, encap.Offload{})
	w.open(uint16(p.index), noIndex, 1, tapSlot)
	w.portRx.add(&p.stats[w.id], 1, tapSlot)
	w.fates[w.frame.fate].blame(TooBig)
}

// portStages are the guards for frames from a port, in their order, and then the forwarding.
func (w *worker) portStages(f *frame) Reason {
	if r := guardLength(f); r != ReasonNone {
		return r
	}
	if r := guardOffload(f); r != ReasonNone {
		return r
	}
	if f.finishSCTP() != nil {
		return BadOffload
	}
	if r := guardLinkLocal(f); r != ReasonNone {
		return r
	}
	if r := w.classify(f); r != ReasonNone {
		return r
	}
	w.enterDomain(f)
	if r := guardGBP(f); r != ReasonNone {
		return r
	}
	if r := guardSource(f); r != ReasonNone {
		return r
	}
	if r := w.guardSpoof(f); r != ReasonNone {
		return r
	}
	if r := w.learn(f, f.port.place()); r != ReasonNone {
		return r
	}
	return w.forward(f)
}

// fromUnderlay carries what one receive slot holds: a datagram, or several of one flow that the kernel joined (UDP GRO).
func (w *worker) fromUnderlay(m *underlay.Message) {
	data, size := m.Data, m.DatagramSize
	if size <= 0 || size > len(data) {
		size = len(data)
	}
	believed := seamsHold
	if size < len(data) {
		believed = seamsOf(data, size)
	}
	switch {
	case m.Truncated:
		w.reject(data, TruncatedDatagram)
		return
	case len(data) == 0:
		w.reject(data, BadVXLANHeader)
		return
	case believed == seamsForged:
		w.reject(data, TooBig) // to carry it, it would have to be cut
		return
	}
	if w.train.datagram != nil && (w.train.source != m.Source || w.train.tos != m.TOS) {
		w.train.datagram = nil
	}
	var first [encap.VXLANLen]byte // what is carried is changed where it lies
	copy(first[:], data)
	for len(data) > 0 {
		n := min(size, len(data))
		d := data[:n:n]
		data = data[n:]
		switch {
		case believed == seamsOfOneVNI && !bytes.HasPrefix(d, first[:]):
			w.reject(d, TooBig)
		case w.train.datagram == nil || !w.follows(d):
			w.fromDatagram(d, m)
		}
	}
}

// reject drops what came from the underlay before anything is known of it.
func (w *worker) reject(data []byte, r Reason) {
	w.frame.reset(nil, 0, encap.Offload{})
	w.open(noIndex, noIndex, 1, uint32(len(data)))
	w.fates[w.frame.fate].blame(r)
}

// fromDatagram carries one datagram.
func (w *worker) fromDatagram(d []byte, m *underlay.Message) {
	f := &w.frame
	f.reset(d, min(encap.VXLANLen, len(d)), encap.Offload{})
	f.wire = true
	size := uint32(len(d) - f.start)
	w.open(noIndex, noIndex, 1, size)
	if w.tape != nil {
		w.tapeFromWire(f, m.Source.Addr())
	}
	w.train.datagram = nil
	if reason := w.wireStages(f, m.Source, m.TOS); reason != ReasonNone {
		w.fates[f.fate].blame(reason)
		w.strangers.note(reason, m.Source.Addr(), encap.VXLAN(f.buf), w.now)
	} else if f.joined {
		w.lead(f, m)
	}
	if f.tight != 0 {
		w.answerTooBig(f)
	}
}

// wireStages are the guards for frames from the underlay, in their order, and then the forwarding.
func (w *worker) wireStages(f *frame, source netip.AddrPort, tos uint8) Reason {
	if r := w.decapsulate(f); r != ReasonNone {
		return r
	}
	if r := w.admit(f, source); r != ReasonNone {
		return r
	}
	w.enterDomain(f)
	if r := guardGBP(f); r != ReasonNone {
		return r
	}
	if r := guardLength(f); r != ReasonNone {
		return r
	}
	if r := guardInnerTag(f); r != ReasonNone {
		return r
	}
	if r := propagateECN(f, tos); r != ReasonNone {
		return r
	}
	if r := guardLinkLocal(f); r != ReasonNone {
		w.takeProbe(f)
		return r
	}
	if r := guardSource(f); r != ReasonNone {
		return r
	}
	if f.domain.learning && f.peer != nil && !f.gbp.DontLearn() {
		if r := w.learn(f, f.peer.place()); r != ReasonNone {
			return r
		}
	} else if r := w.guardStatic(f); r != ReasonNone {
		return r
	}
	return w.forward(f)
}

// extent says what the frame counts for: its segments, and their bytes together.
func (f *frame) extent() (packets, bytes uint32) {
	size := len(f.bytes())
	if !f.off.IsGSO() {
		return 1, uint32(size)
	}
	l := f.parse()
	n := encap.SegmentCount(l, f.off)
	return uint32(n), uint32(size + (n-1)*int(l.Payload))
}

// decapsulate finds the VNI (RFC 7348 section 5).
func (w *worker) decapsulate(f *frame) Reason {
	if f.start < encap.VXLANLen {
		return BadVXLANHeader
	}
	h := encap.VXLAN(f.buf)
	if !h.Valid() {
		return BadVXLANHeader
	}
	f.domain = w.domain(h.VNI())
	if f.domain == nil {
		return UnknownVNI
	}
	w.fates[f.fate].vni = f.domain.vni
	if f.domain.gbp {
		return f.readGBP(h)
	}
	if f.domain.gpe {
		return f.guardGPE(encap.GPE(h))
	}
	if f.domain.strictBits && !h.ReservedZero() {
		return BadVXLANHeader
	}
	return ReasonNone
}

// domain finds a VNI, remembering the last.
func (w *worker) domain(vni uint32) *domain {
	if d := w.seen.domain; d != nil && d.vni == vni {
		return d
	}
	d := w.snap.vnis.get(vni)
	if d != nil {
		w.seen.domain = d
	}
	return d
}

// admit says whether the source may send into the VNI, and which peer it is.
func (w *worker) admit(f *frame, source netip.AddrPort) Reason {
	c := &w.seen
	if c.sourceDomain != f.domain || c.source != source {
		c.sourceDomain, c.source = f.domain, source
		c.peer, c.refused = w.s.judge(f.domain, source.Addr())
		if c.peer == nil && c.refused == ReasonNone {
			c.peer = w.s.learnPeer(netip.AddrPortFrom(source.Addr(), w.arrival))
		}
	}
	f.peer = c.peer
	if c.refused != ReasonNone {
		return c.refused
	}
	if f.peer != nil {
		fate := &w.fates[f.fate]
		fate.peer = uint16(f.peer.index)
		w.peerRx.add(&f.peer.stats[w.id], 1, uint64(fate.bytes))
	}
	return ReasonNone
}

// judge says whether a source may send into a VNI, and which of those that configuration names it is; nil: none.
func (s *Switch) judge(d *domain, source netip.Addr) (*peer, Reason) {
	p := d.members[source]
	switch {
	case p != nil:
		return p, ReasonNone
	case s.isLocal(source):
		return nil, OwnSource
	case !d.admits(source):
		return nil, UnknownPeer
	}
	return nil, ReasonNone
}

// enterDomain counts the frame into its VNI.
func (w *worker) enterDomain(f *frame) {
	fate := &w.fates[f.fate]
	fate.vni = f.domain.vni
	w.vniRx.add(&f.domain.stats[w.id], uint64(fate.packets), uint64(fate.bytes))
}

// guardLength wants an Ethernet header.
func guardLength(f *frame) Reason {
	if len(f.buf)-f.start < encap.EthernetLen {
		return ShortFrame
	}
	return ReasonNone
}

// linkLocal is 01:80:C2:00:00:00; the sixteen addresses from there on stay on one link (802.1Q-2018 table 8-1).
const linkLocal = 0x0180c2000000

// guardLinkLocal keeps what is meant for the neighbour on the wire from being forwarded: BPDUs, LACP, LLDP, pause frames.
func guardLinkLocal(f *frame) Reason {
	if encap.Ethernet(f.bytes()).Dst()&^0xf == linkLocal {
		return LinkLocalMulticast
	}
	return ReasonNone
}

// guardSource wants a source address that a station can have.
func guardSource(f *frame) Reason {
	src := encap.Ethernet(f.bytes()).Src()
	if src == 0 || encap.MulticastMAC(src) {
		return InvalidSourceMAC
	}
	return ReasonNone
}

func isTag(etherType uint16) bool {
	return etherType == encap.EtherTypeVLAN || etherType == encap.EtherTypeQinQ
}

// classify finds the VNI of a frame from a port by its tag, and takes the tag off (802.1Q-2018 6.9).
func (w *worker) classify(f *frame) Reason {
	p := f.port
	b := f.bytes()
	vni := p.untagged
	if t := encap.Ethernet(b).EtherType(); isTag(t) {
		if len(b) < encap.EthernetLen+encap.VLANTagLen {
			return ShortFrame
		}
		tci := binary.BigEndian.Uint16(b[encap.EthernetLen:])
		vid := tci & vidMask
		switch {
		case t == encap.EtherTypeVLAN && vid == 0: // priority tag: the frame counts as untagged
			f.popTag(tci)
		case t == encap.EtherTypeVLAN && p.vids != nil && p.vids[vid] != 0:
			vni = p.vids[vid]
			f.popTag(tci)
		case t == encap.EtherTypeVLAN && vid == p.nativeVID && p.trunk():
			f.popTag(tci)
		default: // a tag that means nothing to this port; a VNI that keeps tags takes it as it is
			if d := w.domain(vni); d == nil || !d.keepTags || p.trunk() {
				return VLANNotAllowed
			}
			f.domain = w.domain(vni)
			return ReasonNone
		}
	}
	if vni == 0 {
		return VLANNotAllowed
	}
	f.domain = w.domain(vni)
	if f.domain == nil {
		return UnknownVNI
	}
	if !f.domain.keepTags && isTag(encap.Ethernet(f.bytes()).EtherType()) {
		w.fates[f.fate].vni = vni
		return InnerVLANTag
	}
	return ReasonNone
}

// trunk says whether the port speaks 802.1Q: an access port drops frames that carry a VID, its own included.
func (p *port) trunk() bool { return p.vids != nil || p.nativeVID != 0 }

// misreads says whether a frame that leaves without a tag of the port's own would be taken for one of another VLAN, by a tag that its VNI keeps.
func (p *port) misreads(b []byte) bool {
	if p.vids == nil || encap.Ethernet(b).EtherType() != encap.EtherTypeVLAN || len(b) < encap.EthernetLen+encap.VLANTagLen {
		return false
	}
	return p.vids[binary.BigEndian.Uint16(b[encap.EthernetLen:])&vidMask] != 0
}

// popTag takes the outermost tag off and keeps its priority.
func (f *frame) popTag(tci uint16) {
	encap.PopTag(f.bytes())
	f.start += encap.VLANTagLen
	f.priority = tci & priorityMask
	f.parsed = false
	f.off = f.off.Shift(-encap.VLANTagLen)
}

// guardInnerTag discards tagged frames from the wire unless the VNI keeps tags (RFC 7348 section 6.1). VID 0 is no VLAN: such a tag
// is taken off.
func guardInnerTag(f *frame) Reason {
	b := f.bytes()
	if f.domain.keepTags || !isTag(encap.Ethernet(b).EtherType()) {
		return ReasonNone
	}
	if len(b) < encap.EthernetLen+encap.VLANTagLen {
		return ShortFrame
	}
	tci := binary.BigEndian.Uint16(b[encap.EthernetLen:])
	if tci&vidMask != 0 || encap.Ethernet(b).EtherType() != encap.EtherTypeVLAN {
		return InnerVLANTag
	}
	f.popTag(tci)
	if isTag(encap.Ethernet(f.bytes()).EtherType()) {
		return InnerVLANTag
	}
	return ReasonNone
}

// ecnMask selects the ECN field in a TOS or traffic class byte (RFC 3168 section 5).
const ecnMask = 3

// propagateECN carries a congestion mark from the outer header to the inner one (RFC 6040 section 4.2).
func propagateECN(f *frame, tos uint8) Reason {
	outer := tos & ecnMask
	if outer == 0 {
		return ReasonNone // the inner field stays, whatever it is
	}
	l := f.parse()
	inner, ok := encap.TrafficClass(f.bytes(), l)
	if !ok {
		return ReasonNone
	}
	result, drop := encap.ECNDecap(inner&ecnMask, outer)
	if drop {
		return ECNNotECT
	}
	if result != inner&ecnMask {
		encap.SetECN(f.bytes(), l, result)
	}
	return ReasonNone
}

// learn remembers where the source of the frame is.
func (w *worker) learn(f *frame, place fdb.Dest) Reason {
	mac := fdb.MAC(encap.Ethernet(f.bytes()).Src())
	vni := f.domain.vni
	c := &w.seen
	if c.learnMAC == mac && c.learnVNI == vni && c.learnPlace == place {
		return ReasonNone
	}
	w.hear() // the fast path was told of its frames before this one came
	switch w.s.fdb.Learn(vni, mac, place, w.now) {
	case fdb.Elsewhere:
		if !w.staticAtSource(f, mac) {
			return StaticMACElsewhere
		}
	case fdb.Refused:
		return MACLimit
	}
	c.learnMAC, c.learnVNI, c.learnPlace = mac, vni, place
	return ReasonNone
}

// guardStatic is what remains of learn for a source that is not learned from, because the VNI does not or because there are too many peers
// already: a static entry of another place holds all the same.
func (w *worker) guardStatic(f *frame) Reason {
	place := fdb.None
	if f.peer != nil {
		place = f.peer.place()
	}
	mac := fdb.MAC(encap.Ethernet(f.bytes()).Src())
	vni := f.domain.vni
	c := &w.seen
	if c.learnMAC == mac && c.learnVNI == vni && c.learnPlace == place {
		return ReasonNone
	}
	if e, ok := w.s.fdb.Get(vni, mac, w.now); ok && e.State == fdb.Static && e.Dest != place && !w.staticAtSource(f, mac) {
		return StaticMACElsewhere
	}
	return ReasonNone
}

// staticAtSource says whether the static entry of a MAC leads to the host that the frame came from, by another UDP port: a source is known by its
// address alone, and was taken for the peer of that address on the flood list.
func (w *worker) staticAtSource(f *frame, mac fdb.MAC) bool {
	if f.peer == nil {
		return false
	}
	e, ok := w.s.fdb.Get(f.domain.vni, mac, w.now)
	if !ok || !e.Dest.IsPeer() {
		return false
	}
	p := w.s.peers.at(e.Dest.Index())
	return p != nil && p.addr.Addr() == f.peer.addr.Addr()
}

// forward looks the destination up and hands the frame to egress.
func (w *worker) forward(f *frame) Reason {
	dst := encap.Ethernet(f.bytes()).Dst()
	if encap.MulticastMAC(dst) {
		return w.flood(f)
	}
	vni := f.domain.vni
	c := &w.seen
	if c.lookMAC != fdb.MAC(dst) || c.lookVNI != vni {
		c.lookMAC, c.lookVNI = fdb.MAC(dst), vni
		c.lookPlace, c.lookFound = w.s.fdb.Lookup(vni, fdb.MAC(dst), w.now)
	}
	if !c.lookFound && w.hear() {
		c.lookMAC, c.lookVNI = fdb.MAC(dst), vni
		c.lookPlace, c.lookFound = w.s.fdb.Lookup(vni, fdb.MAC(dst), w.now)
	}
	if !c.lookFound {
		return w.flood(f)
	}
	if c.lookPlace.IsPort() {
		p := w.snap.port(c.lookPlace.Index())
		if p == nil {
			return w.flood(f) // flushed this moment
		}
		if p == f.port {
			return SamePlace
		}
		vid, ok := p.tagFor(vni)
		if !ok {
			return w.flood(f)
		}
		return w.toPort(f, p, vid, false)
	}
	if f.wire {
		return SplitHorizon
	}
	p := w.s.peers.at(c.lookPlace.Index())
	if p == nil {
		return w.flood(f)
	}
	w.one[0] = p
	return w.toPeers(f, w.one[:])
}
