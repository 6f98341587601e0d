package dataplane

import (
	"golang.org/x/sys/unix"

	"vtepd/dataplane/netdev"
	"vtepd/encap"
)

// maxPosts bounds what waits for the end of a batch in the packet sockets of all ports together.
const maxPosts = 1024

// post is the account of a frame or superframe on its way into a port's device: what is taken back when it does not get there.
type post struct {
	port    *port
	vni     uint32
	packets uint32
	bytes   uint32
	fate    uint32   // index into worker.fates
	fates   []uint32 // of a superframe that was joined from as many frames; nil: fate alone
}

// noFates belongs to a frame of our own making, which did not enter the switch.
var noFates = []uint32{}

// posting is what a worker remembers of frames that wait in packet sockets. They leave with one sendmmsg(2) a port at the end of the batch.
type posting struct {
	posts  []post
	fates  []uint32        // room for post.fates
	queues []*netdev.Queue // that have something to flush
	failed func(tag uint32, err error)
}

func newPosting(w *worker) posting {
	return posting{
		posts:  make([]post, 0, maxPosts),
		fates:  make([]uint32, 0, maxFates),
		queues: make([]*netdev.Queue, 0, MaxPorts),
		failed: w.notPosted,
	}
}

// post hands w.parts to a packet socket. They are borrowed until flushPosts, but for the headers, which are copied.
func (w *worker) post(q *netdev.Queue, off encap.Offload, p post) error {
	b := &w.posting
	if len(b.posts) == cap(b.posts) || len(b.fates)+len(p.fates) > cap(b.fates) {
		w.flushPosts()
	}
	if p.fates != nil {
		at := len(b.fates)
		b.fates = append(b.fates, p.fates...)
		p.fates = b.fates[at:]
	}
	fresh := q.Pending() == 0
	if !q.Add(off, w.parts, uint32(len(b.posts))) {
		q.Flush(b.failed)
		if !q.Add(off, w.parts, uint32(len(b.posts))) {
			return unix.EMSGSIZE
		}
	}
	b.posts = append(b.posts, p)
	if fresh {
		b.queues = append(b.queues, q)
	}
	return nil
}

// flushPosts writes everything that waits in packet sockets.
func (w *worker) flushPosts() {
	b := &w.posting
	for _, q := range b.queues {
		q.Flush(b.failed)
	}
	clear(b.posts)
	b.posts, b.fates, b.queues = b.posts[:0], b.fates[:0], b.queues[:0]
}

// notPosted hears of a frame that a packet socket did not take: tag is its index in posts.
func (w *worker) notPosted(tag uint32, err error) {
	w.portTx.flush()
	w.vniTx.flush()
	p := &w.posting.posts[tag]
	reason := packetReason(err)
	uncount(&p.port.stats[w.id], uint64(p.packets), uint64(p.bytes))
	if d := w.snap.vnis.get(p.vni); d != nil {
		uncount(&d.stats[w.id], uint64(p.packets), uint64(p.bytes))
	}
	if w.tape != nil {
		w.tape.unsent(p.account(), p.port, nil, p.packets)
	}
	if p.fates == nil {
		w.fates[p.fate].fail(p.packets, reason)
	}
	for _, fate := range p.fates {
		w.fates[fate].failAll(reason)
	}
}

// packetReason names what a packet socket answered (packet_snd of net/packet/af_packet.c).
func packetReason(err error) Reason {
	switch err {
	case unix.ENETDOWN:
		return PortDown
	case unix.ENXIO, unix.ENODEV, unix.EBADF:
		return PortGone
	case unix.EMSGSIZE:
		return TooBig
	case unix.EINVAL:
		return BadOffload
	case unix.ENOBUFS, unix.EAGAIN, unix.ENOMEM:
		return PortBusy
	}
	return PortRefused
}

// servePackets reads frames from the worker's packet socket of a port. What has been read must be carried to its end, so the number asked for follows
// from the bytes and the work that the last ones made.
func (w *worker) servePackets(p *port) (more bool) {
	limit := w.packetLimit
	q := p.link.packets[w.id]
	big := q.Big()
	frames, lost, drained := w.packets.Recv(q, limit)
	if !big && q.Big() {
		w.s.fast.portChanged(p) // see portRules
	}
	size := 0
	for i := range frames {
		f := &frames[i]
		if f.Oversize {
			w.oversized(p)
			continue
		}
		size += len(f.Buf)
		w.fromPort(p, f.Buf, f.Start, f.Off)
	}
	for range lost {
		w.unreadable(p)
	}
	if w.work > batchWork || size > arenaSize {
		w.packetLimit = max(1, min(limit, len(frames))/2)
	} else if len(frames) == limit {
		w.packetLimit = min(netdev.MaxFrames, 2*limit)
	}
	return !drained
}

// unreadable accounts for a superframe of which the kernel could not say how it is to be cut (SCTP, a tunnel), and gave us nothing.
func (w *worker) unreadable(p *port) {
	w.frame.reset(nil, 0, encap.Offload{})
	w.open(uint16(p.index), noIndex, 1, 0)
	w.portRx.add(&p.stats[w.id], 1, 0)
	w.fates[w.frame.fate].blame(BadOffload)
}
