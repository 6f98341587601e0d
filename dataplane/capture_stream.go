package dataplane

import (
	"context"
	"fmt"
	"time"

	"vtepd/dataplane/pcapng"
)

const (
	// captureWrite is how many bytes are gathered before they are written.
	captureWrite = 64 << 10
	// maxCaptureInterfaces bounds the interfaces of one capture: peers that come and go for weeks must not grow memory without end. Of further ones the frames
	// are those of otherInterface.
	maxCaptureInterfaces = 2 * MaxPeers
	// otherInterface is the first one of every capture, since readers want one before the first frame.
	otherInterface = 0
)

// captureStream writes one capture.
type captureStream struct {
	c       *capture
	w       CaptureWriter
	dstPort uint16 // of a peer for which it goes without saying
	spares  []*captureRecords
	full    []*captureRecords // by worker; nil where there is nothing
	out     []byte
	failed  bool

	index      map[shown]uint32
	interfaces []captureInterface
	frames     uint64
}

// shown is what a reader sees of an interface. Ports and peers may have the same name: an address is one for a port, too.
type shown struct{ name, description string }

type captureInterface struct {
	frames, lost uint64
	told         bool // what was lost
}

func newCaptureStream(c *capture, w CaptureWriter, dstPort uint16) *captureStream {
	s := &captureStream{c: c, w: w, dstPort: dstPort, full: make([]*captureRecords, len(c.buffers)), index: make(map[shown]uint32)}
	for range c.buffers {
		s.spares = append(s.spares, &captureRecords{most: c.most})
	}
	return s
}

// run writes until there is nobody to write to, or no more to write.
func (s *captureStream) run(ctx context.Context) {
	s.out = pcapng.AppendSection(s.out, "vtepd")
	s.describe("vtepd", "senders that are no peers, and whatever has no interface of its own")
	s.flush()
	for ctx.Err() == nil && !s.failed && !s.done() {
		if s.collect() {
			s.flush()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.c.ended:
			s.collect()
			s.conclude()
			return
		case <-s.c.wake:
		}
	}
	if ctx.Err() == nil && !s.failed {
		s.conclude()
	}
}

func (s *captureStream) done() bool { return s.c.filter.Count != 0 && s.frames >= s.c.filter.Count }

// lost is how many frames were, as far as was told of them.
func (s *captureStream) lost() (n uint64) {
	for i := range s.interfaces {
		n += s.interfaces[i].lost
	}
	return n
}

// conclude says of every interface what was captured and lost.
func (s *captureStream) conclude() {
	for i := range s.interfaces {
		s.tell(i)
	}
	s.flush()
}

// collect writes what waits, in the order of time, and says whether there was something.
func (s *captureStream) collect() (some bool) {
	for i := range s.c.buffers {
		spare := s.spares[i]
		b := s.c.buffers[i].exchange(spare)
		if b == nil {
			continue
		}
		if s.spares[i] = b; b.total() == 0 {
			continue
		}
		s.full[i], some = b, true
	}
	if !some {
		return false
	}
	s.merge()
	for i, b := range s.full {
		if b == nil {
			continue
		}
		for _, l := range b.losses {
			at := s.interfaceOf(l.port, l.peer) // which may make one
			s.interfaces[at].lost += l.n
			s.interfaces[at].told = false
		}
		b.reset()
		s.full[i] = nil
	}
	for i := range s.interfaces {
		if !s.interfaces[i].told {
			s.tell(i)
		}
	}
	return true
}

// merge writes the records of all workers by time: each has its own in order already.
func (s *captureStream) merge() {
	next := make([]int, len(s.full))
	for !s.failed && !s.done() {
		least := -1
		for i, b := range s.full {
			if b != nil && next[i] < len(b.records) && (least < 0 || b.records[next[i]].time < s.full[least].records[next[least]].time) {
				least = i
			}
		}
		if least < 0 {
			return
		}
		b := s.full[least]
		r := &b.records[next[least]]
		next[least]++
		s.write(r, b.data(r))
	}
}

func (s *captureStream) write(r *record, data []byte) {
	at := s.interfaceOf(r.port, r.peer)
	s.interfaces[at].frames++
	s.frames++
	s.out = pcapng.AppendPacket(s.out, pcapng.Packet{Interface: at, Time: r.time, Length: r.length, Data: data, Outbound: r.out, Comment: r.comment()})
	if len(s.out) >= captureWrite {
		s.put()
	}
}

// comment says what the bytes of a frame do not.
func (r *record) comment() string {
	text := fmt.Sprintf("vni %d", r.vni)
	if r.vni == 0 {
		text = "no vni"
	}
	if r.packets > 1 {
		text += fmt.Sprintf(", %d segments", r.packets)
	}
	if !r.out && r.port == nil && r.peer == nil {
		text += ", from " + r.source.String()
	}
	if r.dropped > 0 {
		text += ", dropped: " + r.reason.String()
		if r.dropped < r.packets {
			text += fmt.Sprintf(" (%d of them)", r.dropped)
		}
	}
	return text
}

// interfaceOf finds the interface of a port or a peer, and describes one that is new.
func (s *captureStream) interfaceOf(p *port, q *peer) uint32 {
	name, description := "", ""
	switch {
	case p != nil:
		name, description = p.config.Name, "port of type "+string(p.config.Type)
	case q != nil:
		if name = q.addr.Addr().String(); q.addr.Port() != s.dstPort {
			name = q.addr.String()
		}
		if description = "peer"; q.group {
			description = "multicast group"
		}
	default:
		return otherInterface
	}
	if at, ok := s.index[shown{name, description}]; ok {
		return at
	}
	if len(s.interfaces) == maxCaptureInterfaces {
		return otherInterface
	}
	return s.describe(name, description)
}

func (s *captureStream) describe(name, description string) uint32 {
	at := uint32(len(s.interfaces))
	s.interfaces = append(s.interfaces, captureInterface{told: true})
	s.index[shown{name, description}] = at
	s.out = pcapng.AppendInterface(s.out, pcapng.Interface{Name: name, Description: description, SnapLen: uint32(s.c.snaplen)})
	return at
}

// tell says what became of the frames of an interface so far.
func (s *captureStream) tell(i int) {
	at := &s.interfaces[i]
	at.told = true
	s.out = pcapng.AppendStatistics(s.out, pcapng.Statistics{Interface: uint32(i), Time: time.Now().UnixNano(), Received: at.frames + at.lost, Dropped: at.lost})
}

func (s *captureStream) put() {
	if _, err := s.w.Write(s.out); err != nil {
		s.failed = true
	}
	s.out = s.out[:0]
}

func (s *captureStream) flush() {
	s.put()
	if !s.failed && s.w.Flush() != nil {
		s.failed = true
	}
}
