package dataplane

import (
	"errors"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/netdev"
	"vtepd/dataplane/underlay"
	"vtepd/encap"
)

// flood sends the frame to every other port of its VNI and, unless it came from the wire, to every peer on the list: a frame from a
// peer never goes to a peer.
func (w *worker) flood(f *frame) Reason {
	if r := guardFlood(f); r != ReasonNone {
		return r
	}
	if r := w.guardStorm(f); r != ReasonNone {
		return r
	}
	d := f.domain
	reason := NoDestination
	for _, m := range d.floodPorts {
		p := w.snap.port(m.port)
		if p == nil || p == f.port {
			continue
		}
		if f.keptFrom(p) { // and no copy is missing there
			if reason == NoDestination {
				reason = PortIsolated
			}
			continue
		}
		if r := w.toPort(f, p, m.vid, true); r != ReasonNone && reason == NoDestination {
			reason = r
		}
	}
	if !f.wire && len(d.floodPeers) > 0 {
		if r := w.toPeers(f, d.floodPeers); r != ReasonNone && reason == NoDestination {
			reason = r
		}
	}
	if w.fates[f.fate].copies > 0 {
		return ReasonNone
	}
	return reason
}

// toPort hands a copy of the frame to a port, tagged with vid unless that is 0. A shared frame has other destinations too, and its bytes
// stay as they are, but for an MSS that is lowered.
func (w *worker) toPort(f *frame, p *port, vid uint16, shared bool) Reason {
	if r := guardPort(f, p, vid); r != ReasonNone {
		return w.refuse(f, p, r)
	}
	l := p.link
	if f.wire {
		f.findUnfinished(p)
	}
	if f.domain.clamp.on {
		w.clampToPort(f, p)
	}
	if r := guardPortSize(f, p); r != ReasonNone {
		return w.refuse(f, p, r)
	}
	if vid != 0 {
		vid |= f.priority
	}
	if !shared && l.coalesce != (encap.Caps{}) {
		if !f.off.IsGSO() {
			w.joinLater(f, p, vid)
			return ReasonNone
		}
		w.flushJoined() // what came before it in its flow
	}
	if !l.takes(f.off) {
		return w.toPlainPort(f, p, vid)
	}
	if err := w.writeFrame(f, p, vid); err != nil {
		return w.refuse(f, p, portReason(err))
	}
	w.sentToPort(f, p)
	return ReasonNone
}

// findUnfinished finds out what a frame from the wire still needs, on its way to a port. The kernel of a peer on the same machine may have left checksum and
// segmentation to a network card that is not there. Its segments fit the way from there, and so what is behind a port whose MTU is more than that.
func (f *frame) findUnfinished(p *port) {
	size := p.limit(f.bytes())
	if f.peer != nil {
		if n := f.peer.maxFrame(); n != 0 {
			size = min(size, n)
		}
	}
	f.off, _ = encap.Unfinished(f.bytes(), f.parse(), size)
	_ = f.finishSCTP() // Unfinished has looked where it belongs
}

// finishSCTP finishes the checksum of an SCTP packet, with other frames than that does nothing. The kernel has a mark of its own for it, beside what a virtio-net
// header says, and without would finish it as one of TCP. So it is done before anybody gets the frame.
func (f *frame) finishSCTP() error {
	if !f.off.NeedsChecksum() || f.off.CsumOffset != encap.SCTPChecksumOffset {
		return nil
	}
	err := encap.FinishChecksum(f.bytes()[:f.parse().End], f.off)
	if err == nil {
		f.off = encap.Offload{}
	}
	return err
}

// guardPort keeps from a port what its wire would take for something else, what its groups may not get, and from an isolated one what comes from another.
func guardPort(f *frame, p *port, vid uint16) Reason {
	switch {
	case p.link == nil:
		return PortGone
	case f.keptFrom(p):
		return PortIsolated
	case vid == 0 && p.misreads(f.bytes()):
		return VLANNotAllowed
	case f.domain.gbp && p.gbpDrop.denies(f.gbp):
		return GBPDenied
	}
	return ReasonNone
}

// keptFrom says whether isolation keeps the frame from a port.
func (f *frame) keptFrom(p *port) bool { return p.isolated && f.port != nil && f.port.isolated }

// guardPortSize keeps from a port what is larger than its MTU.
func guardPortSize(f *frame, p *port) Reason {
	n := f.largest()
	if n <= p.maxFrame {
		return ReasonNone
	}
	limit := p.limit(f.bytes())
	if n <= limit {
		return ReasonNone
	}
	f.tighten(limit, false)
	return TooBig
}

// limit is the size in bytes of the largest frame like b that fits the port's MTU. A kept tag, like one that the port adds, is not part of what an MTU bounds
// (is_skb_forwardable, net/core/dev.c).
func (p *port) limit(b []byte) int {
	if isTag(encap.Ethernet(b).EtherType()) {
		return p.maxFrame + encap.VLANTagLen
	}
	return p.maxFrame
}

// largest is the size in bytes of the largest frame that the frame becomes on the wire.
func (f *frame) largest() int {
	n := len(f.bytes())
	if f.off.IsGSO() {
		if l := f.parse(); l.Payload != 0 {
			n = min(n, int(l.Payload)+int(f.off.GSOSize))
		}
	}
	return n
}

// finishChecksum does in the frame what its sender left to us.
func (w *worker) finishChecksum(f *frame) error {
	if !netdev.Covers(f.off) {
		w.flushPosts() // a copy that waits there is not finished, and would see the change
	}
	err := encap.FinishChecksum(f.bytes(), f.off)
	if err == nil {
		f.off = encap.Offload{}
	}
	return err
}

// takes says whether the device understands the offload state.
func (l *link) takes(o encap.Offload) bool {
	if !o.IsGSO() {
		return !o.NeedsChecksum() || l.caps.VnetHdr
	}
	if o.GSOType&encap.GSOECN != 0 && !l.caps.ECN {
		return false
	}
	switch o.GSOType &^ encap.GSOECN {
	case encap.GSOTCPv4:
		return l.caps.TSO4
	case encap.GSOTCPv6:
		return l.caps.TSO6
	case encap.GSOUDPL4:
		return l.caps.USO
	}
	return false
}

// writeWork is what a write to a port's device counts for in worker.work: it enters the kernel's stack, which takes as long as sending a few datagrams.
const writeWork = 4

// writeFrame writes the frame or superframe to the worker's queue of a port's device, with a tag (TCI) in front unless that is 0.
func (w *worker) writeFrame(f *frame, p *port, tci uint16) error {
	fate := &w.fates[f.fate]
	w.parts = append(w.parts[:0], f.bytes())
	return w.writeParts(f.off, tci, post{port: p, vni: f.domain.vni, packets: fate.packets, bytes: fate.bytes, fate: f.fate})
}

// writeParts writes w.parts as one frame; the first part holds all headers. A device that takes frames one by one answers at once; one that takes them
// in batches does so when the batch is flushed, and account says what is taken back then.
func (w *worker) writeParts(off encap.Offload, tci uint16, account post) error {
	l := account.port.link
	if tci != 0 {
		first := w.parts[0]
		encap.PushTagHeader(w.tagged[:], first, tci)
		w.parts[0] = first[encap.PushedLen-encap.VLANTagLen:]
		w.parts = append(w.parts, nil)
		copy(w.parts[1:], w.parts)
		w.parts[0] = w.tagged[:]
		off = off.Shift(encap.VLANTagLen)
	}
	w.work += writeWork
	var err error
	switch {
	case l.packets == nil:
		err = l.queues[w.id].Write(off, w.parts)
	case l.down.Load():
		err = unix.EIO
	default:
		err = w.post(l.packets[w.id], off, account)
	}
	if w.tape != nil && err == nil {
		w.tape.toPort(w.parts, &account)
	}
	return err
}

// toPlainPort serves a device that does not take the frame's offload state: the work is done here instead.
func (w *worker) toPlainPort(f *frame, p *port, tci uint16) Reason {
	if !f.off.IsGSO() {
		if err := w.finishChecksum(f); err != nil {
			return w.refuse(f, p, BadOffload)
		}
		if err := w.writeFrame(f, p, tci); err != nil {
			return w.refuse(f, p, portReason(err))
		}
		w.sentToPort(f, p)
		return ReasonNone
	}
	if err := w.cutter.Init(f.bytes(), f.parse(), f.off); err != nil {
		return w.refuse(f, p, BadOffload)
	}
	fate := &w.fates[f.fate]
	fate.copies++
	header := w.segment[:w.cutter.HeaderLen()]
	for i := range w.cutter.Count() {
		payload := w.cutter.Segment(i, header)
		w.parts = append(w.parts[:0], header, payload)
		size := uint64(len(header) + len(payload))
		account := post{port: p, vni: f.domain.vni, packets: 1, bytes: uint32(size), fate: f.fate}
		if err := w.writeParts(encap.Offload{}, tci, account); err != nil {
			fate.fail(1, portReason(err))
			p.stats[w.id].txDropped.Add(1)
			f.domain.stats[w.id].txDropped.Add(1)
			continue
		}
		w.countToPort(f, p, 1, size)
	}
	return ReasonNone
}

// refuse counts a copy that a port did not take.
func (w *worker) refuse(f *frame, p *port, r Reason) Reason {
	packets := uint64(w.fates[f.fate].packets)
	p.stats[w.id].txDropped.Add(packets)
	f.domain.stats[w.id].txDropped.Add(packets)
	return r
}

func (w *worker) sentToPort(f *frame, p *port) {
	fate := &w.fates[f.fate]
	fate.copies++
	w.countToPort(f, p, uint64(fate.packets), uint64(fate.bytes))
}

func (w *worker) countToPort(f *frame, p *port, packets, bytes uint64) {
	w.portTx.add(&p.stats[w.id], packets, bytes)
	w.vniTx.add(&f.domain.stats[w.id], packets, bytes)
}

// portReason names what a device answered.
func portReason(err error) Reason {
	switch {
	case errors.Is(err, unix.EIO): // the interface is down (tun_get_user)
		return PortDown
	case errors.Is(err, unix.EBADFD), errors.Is(err, unix.EBADF), errors.Is(err, unix.ENODEV):
		return PortGone
	case errors.Is(err, unix.EMSGSIZE):
		return TooBig
	}
	return PortRefused
}

// joinLater gives a frame to the coalescer, which writes it, alone or joined with others, at the end of the batch.
func (w *worker) joinLater(f *frame, p *port, tci uint16) {
	w.work++
	f.joined = true
	key := p.index<<16 | uint32(tci)
	if !w.join.AddParsed(key, f.fate, p.link.coalesce, f.bytes(), f.parse(), f.off) {
		w.flushJoined()
		w.join.AddParsed(key, f.fate, p.link.coalesce, f.bytes(), f.parse(), f.off)
	}
	w.fates[f.fate].copies++
}

// flushJoined writes what the coalescer gathered.
func (w *worker) flushJoined() {
	for i := range w.join.Len() {
		s := w.join.Slot(i)
		w.writeSuperframe(s)
	}
	w.join.Reset()
}

func (w *worker) writeSuperframe(s *encap.Superframe) {
	p := w.snap.port(s.Dest >> 16)
	packets := uint64(len(s.Parts))
	w.parts = append(w.parts[:0], s.Parts...)
	vni := w.fates[s.Tags[0]].vni
	var bytes uint64
	for _, tag := range s.Tags {
		bytes += uint64(w.fates[tag].bytes)
	}
	err := w.writeParts(s.Off, uint16(s.Dest), post{port: p, vni: vni, packets: uint32(packets), bytes: uint32(bytes), fates: s.Tags})
	if err != nil {
		reason := portReason(err)
		p.stats[w.id].txDropped.Add(packets)
		if d := w.domain(vni); d != nil {
			d.stats[w.id].txDropped.Add(packets)
		}
		for _, tag := range s.Tags {
			w.fates[tag].failAll(reason)
		}
		return
	}
	w.portTx.add(&p.stats[w.id], packets, bytes)
	if d := w.domain(vni); d != nil {
		w.vniTx.add(&d.stats[w.id], packets, bytes)
	}
}

// toPeers encapsulates the frame once and hands a copy to each peer. It comes after the ports: it writes into the frame.
func (w *worker) toPeers(f *frame, peers []*peer) Reason {
	d := f.domain
	layout := f.parse()
	if d.clamp.on {
		w.clampToPeers(f, peers)
	}
	class := d.class
	w.outerFields(f, layout, &class)
	hash := encap.FlowHash(f.bytes(), layout, w.s.seed)
	if f.off.IsGSO() {
		return w.superframeToPeers(f, peers, class, hash)
	}
	if f.off.NeedsChecksum() {
		if err := w.finishChecksum(f); err != nil {
			return w.refusePeers(f, peers, BadOffload)
		}
	}
	// The VXLAN header goes right in front of the frame, where the virtio-net header or a tag was.
	datagram := f.buf[f.start-encap.VXLANLen:]
	d.header.WithGBP(f.gbp).Put(datagram)
	reason := TooBig
	for _, p := range peers {
		if !w.fits(f, p, len(datagram)-encap.VXLANLen) {
			continue
		}
		w.queue(f, p, class, hash, datagram, nil)
		if w.tape != nil {
			w.tape.toPeer(p, d.vni, f.fate, 1, f.bytes())
		}
		w.fates[f.fate].copies++
		reason = ReasonNone
	}
	return reason
}

// fits says whether the path to a peer carries a frame of size bytes; one that it does not carry is counted as not sent, and TooBig is left to be said.
// A path that is not known carries everything until the kernel says EMSGSIZE.
func (w *worker) fits(f *frame, p *peer, size int) bool {
	limit := p.maxFrame()
	if limit == 0 || size <= limit {
		return true
	}
	f.tighten(limit, true)
	p.stats[w.id].txDropped.Add(1)
	f.domain.stats[w.id].txDropped.Add(1)
	return false
}

// superframeToPeers cuts a superframe: headers into the worker's header arena, payload where it lies.
func (w *worker) superframeToPeers(f *frame, peers []*peer, class underlay.Class, hash uint32) Reason {
	if err := w.cutter.Init(f.bytes(), &f.layout, f.off); err != nil {
		return w.refusePeers(f, peers, BadOffload)
	}
	if w.tape != nil {
		w.tapeSuperframe(f, peers)
	}
	if len(peers) == 1 && w.fitsWhole(peers[0]) {
		w.superframeToPeer(f, peers[0], class, hash)
		return ReasonNone
	}
	vxlan := f.domain.header.WithGBP(f.gbp)
	size := encap.VXLANLen + w.cutter.HeaderLen()
	for i := range w.cutter.Count() {
		if w.headerUsed+size > len(w.header) {
			w.flushTx()
		}
		header := w.header[w.headerUsed : w.headerUsed+size : w.headerUsed+size]
		w.headerUsed += size
		vxlan.Put(header)
		payload := w.cutter.Segment(i, header[encap.VXLANLen:])
		for _, p := range peers {
			if !w.fits(f, p, len(header)-encap.VXLANLen+len(payload)) {
				w.fates[f.fate].fail(1, TooBig)
				continue
			}
			w.queue(f, p, class, hash, header, payload)
		}
	}
	w.fates[f.fate].copies += uint32(len(peers))
	return ReasonNone
}

// refusePeers counts the copies of a frame that cannot be cut or finished for any peer.
func (w *worker) refusePeers(f *frame, peers []*peer, r Reason) Reason {
	n := uint64(w.fates[f.fate].packets)
	for _, p := range peers {
		p.stats[w.id].txDropped.Add(n)
		f.domain.stats[w.id].txDropped.Add(n)
	}
	return r
}

// fitsWhole says whether the path to a peer carries every segment of the superframe in w.cutter.
func (w *worker) fitsWhole(p *peer) bool {
	limit := p.maxFrame()
	return limit == 0 || w.cutter.SegmentLen(0) <= limit
}

// superframeToPeer is superframeToPeers for the one peer that nearly all superframes go to.
func (w *worker) superframeToPeer(f *frame, p *peer, class underlay.Class, hash uint32) {
	d, n := f.domain, w.cutter.Count()
	vxlan := d.header.WithGBP(f.gbp)
	size := encap.VXLANLen + w.cutter.HeaderLen()
	class = d.classFor(p, class)
	tx := w.tx[p.family]
	bytes := uint64(len(f.bytes()) + (n-1)*w.cutter.HeaderLen())
	// Counted before any can turn out not to have left.
	w.peerTx.add(&p.stats[w.id], uint64(n), bytes)
	w.vniTx.add(&d.stats[w.id], uint64(n), bytes)
	w.work += n
	w.fates[f.fate].copies++
	lane := tx.Lane(p.dest, class, hash)
	for i := range n {
		if w.headerUsed+size > len(w.header) {
			w.flushTx()
			lane = tx.Lane(p.dest, class, hash)
		}
		header := w.header[w.headerUsed : w.headerUsed+size : w.headerUsed+size]
		w.headerUsed += size
		vxlan.Put(header)
		payload := w.cutter.Segment(i, header[encap.VXLANLen:])
		for lane == nil || !tx.Add(lane, header, payload, uint32(len(w.sent))) {
			w.sendQueued()
			lane = tx.Lane(p.dest, class, hash)
		}
		w.sent = append(w.sent, sent{fate: f.fate, size: uint32(size + len(payload)), peer: uint16(p.index)})
	}
}

// outerFields fills in what the outer header takes from the inner one: ECN always (RFC 6040 section 4.1), DSCP and TTL where the VNI inherits.
func (w *worker) outerFields(f *frame, l *encap.Layout, c *underlay.Class) {
	tos, ok := encap.TrafficClass(f.bytes(), l)
	if !ok {
		return
	}
	if f.domain.inheritDSCP {
		c.TOS = tos &^ ecnMask
	}
	c.TOS |= encap.ECNEncap(f.domain.ecn, tos&ecnMask)
	if f.domain.inheritTTL {
		if ttl, ok := encap.HopLimit(f.bytes(), l); ok && ttl != 0 {
			c.TTL = ttl
		}
	}
}

// classFor is the class of datagrams to a peer.
func (d *domain) classFor(p *peer, class underlay.Class) underlay.Class {
	if p.group && d.groupTTL != 0 {
		class.TTL = d.groupTTL
	}
	class.NoChecksum = d.noChecksum[p.family]
	return class
}

// queue hands one datagram for one peer to the transmitter.
func (w *worker) queue(f *frame, p *peer, class underlay.Class, hash uint32, header, payload []byte) {
	size := len(header) + len(payload)
	class = f.domain.classFor(p, class)
	tx := w.tx[p.family]
	if !tx.Queue(p.dest, class, hash, header, payload, uint32(len(w.sent))) {
		w.sendQueued()
		tx.Queue(p.dest, class, hash, header, payload, 0)
	}
	w.work++
	w.sent = append(w.sent, sent{fate: f.fate, size: uint32(size), peer: uint16(p.index)})
	w.peerTx.add(&p.stats[w.id], 1, uint64(size-encap.VXLANLen))
	w.vniTx.add(&f.domain.stats[w.id], 1, uint64(size-encap.VXLANLen))
}

// sent is what a worker remembers of a datagram until it has left.
type sent struct {
	fate uint32 // index into worker.fates
	size uint32 // of the datagram, bytes
	peer uint16 // index
}

// sendQueued sends everything queued for peers. Headers of the frame in hand stay where they are.
func (w *worker) sendQueued() {
	for _, tx := range w.tx {
		if tx != nil {
			tx.Flush(w.failed)
		}
	}
	w.sent = w.sent[:0]
}

// flushTx sends everything queued for peers and frees the header arena.
func (w *worker) flushTx() {
	w.sendQueued()
	w.headerUsed = 0
}

// notSent hears of a datagram that did not leave: tag is its index in worker.sent.
func (w *worker) notSent(tag uint32, err error) {
	w.peerTx.flush()
	w.vniTx.flush()
	d := &w.sent[tag]
	fate := &w.fates[d.fate]
	p := w.s.peers.at(uint32(d.peer))
	fate.fail(1, underlayReason(err, p))
	if w.tape != nil {
		w.tape.unsent(d.fate, nil, p, 1)
	}
	bytes := uint64(d.size - encap.VXLANLen)
	if p != nil {
		uncount(&p.stats[w.id], 1, bytes)
	}
	if vni := w.snap.vnis.get(fate.vni); vni != nil {
		uncount(&vni.stats[w.id], 1, bytes)
	}
}

// uncount turns packets that were counted as sent into dropped ones.
func uncount(c *counters, packets, bytes uint64) {
	c.txPackets.Add(-packets)
	c.txBytes.Add(-bytes)
	c.txDropped.Add(packets)
}

// underlayReason names what the underlay answered to a datagram for a peer, nil where that has left.
func underlayReason(err error, p *peer) Reason {
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		return TooBig
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EHOSTDOWN),
		errors.Is(err, unix.ENODEV),        // the interface of a group has vanished
		errors.Is(err, unix.EADDRNOTAVAIL): // our address is away (underlay.Sockets.SetAway)
		return NoRoute
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return UnderlayBusy
	case (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES)) && p != nil && p.maxFrame() == 0:
		return NoRoute // of type blackhole or prohibit, or to a broadcast address: that the kernel knows no way was asked before (path.go)
	}
	return UnderlayRefused
}

// flush ends a batch: everything gathered leaves, and every frame's fate is settled.
func (w *worker) flush() {
	if w.join.Len() > 0 {
		w.flushJoined()
	}
	w.flushPosts()
	w.flushTx()
	w.portRx.flush()
	w.peerRx.flush()
	w.vniRx.flush()
	w.portTx.flush()
	w.peerTx.flush()
	w.vniTx.flush()
	w.settle()
}
