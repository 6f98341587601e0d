package encap

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	// MaxParts bounds the frames joined into one superframe. 64 KiB of 512-byte
	// payloads; with the virtio-net header it stays far below IOV_MAX (1024).
	MaxParts = 128
	// maxPartsUDP is UDP_GRO_CNT_MAX: what Linux itself joins, and what every kernel
	// since 5.0 accepts in one UDP superframe.
	maxPartsUDP = 64
	// maxSuperframe bounds a superframe in bytes, Ethernet header included. It is the
	// largest IP length, so that neither length field nor a 64 KiB buffer overflows.
	maxSuperframe = 65535
)

// flowWays entries of 8 bytes are half a cache line.
const flowWays = 4

// Caps says which superframes the way out takes. The zero Caps joins nothing.
type Caps struct {
	TCP4 bool // GSOTCPv4
	TCP6 bool // GSOTCPv6
	UDP  bool // GSOUDPL4, over IPv4 and IPv6
	ECN  bool // GSOECN beside the TCP types; without it a frame with CWR stays alone
}

// Superframe is what a Coalescer made of one or more frames for one destination.
type Superframe struct {
	Dest uint32
	Off  Offload // of a frame that stayed alone, what it was added with
	// Parts are to be written one after the other. Parts[0] is the first frame with its
	// headers, the rest are payloads of the frames that joined it.
	Parts [][]byte
	Tags  []uint32 // the tag of each frame that was added, in the order of Parts; a frame that followed has none of its own
}

// Coalescer joins frames of one flow that arrive one after the other into
// superframes, as the kernel's GRO does (net/ipv4/tcp_offload.c,
// net/ipv4/udp_offload.c), so that the receiving stack is entered once for many.
//
// Order within a flow is kept: slots come out in the order they were made, and a
// frame that cannot join its flow's open slot closes it and gets a slot of its
// own. A fragment, most of which tell no ports, closes the slots of all flows of its
// protocol between its two addresses. What a superframe promises is
// true: FlagNeedsCsum makes the receiver trust the payload, therefore no frame
// joins whose IPv4 header checksum and L4 checksum have not been verified; an
// unfinished L4 checksum promises the same already, but must be one that comes out
// right when it is finished. A frame that stays alone is neither verified nor changed.
//
// Frames are borrowed from Add to Reset. The first frame of a superframe has its
// headers changed in place, so the bytes of a frame must belong to one
// destination: who hands the same bytes to several (a flooded frame) does so with
// zero Caps. Memory is fixed by NewCoalescer, nothing later allocates. A Coalescer
// is for one goroutine.
type Coalescer struct {
	slots []slot
	n     int   // slots in use
	open  int   // of these, slots that may still grow
	last  *slot // the slot touched last: flows arrive in runs

	// flows finds the open slot of a flow: groups of flowWays entries, chosen by the
	// hash. An entry holds the hash, the round it was made in and the slot's index; it
	// counts only in its own round and while its slot is open. In a full group a new
	// flow turns an old one out, whose slot is closed: that costs a join and nothing
	// else, and a flow never has two open slots. Nor does it hurt when the round
	// wraps and an old entry counts again, since the frames themselves are compared.
	flows []uint64
	mask  uint32 // of the hash, leaves the first entry of a group
	round uint16 // one more with each Reset
	seed  uint64

	// Slots of more than one frame take their lists from these, MaxParts each. They
	// are handed out from the front anew after each Reset, so that few stay in use and
	// in the cache.
	parts [][]byte
	tags  []uint32
	wide  int
}

// slot is a Superframe in the making.
type slot struct {
	Superframe
	layout Layout // of the first frame
	next   uint32 // TCP sequence number that may follow
	total  uint32 // bytes, headers and payload
	hash   uint32
	size   uint16 // payload bytes of the first frame: all but the last have as many
	id     uint16 // IPv4 identification of the frame that joined last
	ending uint8  // FIN and PSH of the frame that closed the slot
	open   bool
	sound  bool // the first frame's checksums have been verified

	unfinished bool // the first frame's L4 checksum

	firstPart [1][]byte
	firstTag  [1]uint32
}

// NewCoalescer returns a Coalescer of maxSlots slots, 1 to 65535. It takes about 4
// KiB a slot, of which traffic that does not join touches 200 bytes.
func NewCoalescer(maxSlots int) *Coalescer {
	maxSlots = min(max(maxSlots, 1), 65535)
	size := 64
	for size < 4*maxSlots {
		size *= 2
	}
	return &Coalescer{
		slots: make([]slot, maxSlots),
		flows: make([]uint64, size),
		mask:  uint32(size - flowWays),
		round: 1,
		seed:  rand.Uint64(),
		parts: make([][]byte, maxSlots*MaxParts),
		tags:  make([]uint32, maxSlots*MaxParts),
	}
}

// Len returns the number of slots in use.
func (c *Coalescer) Len() int { return c.n }

// Reset forgets all slots and ends the borrowing of their frames.
func (c *Coalescer) Reset() {
	c.n, c.open, c.wide, c.last = 0, 0, 0, nil
	c.round++
}

// Slot returns the superframe i, 0 <= i < Len(), finished: ready to be written. It
// is valid until Reset, and takes no more frames.
func (c *Coalescer) Slot(i int) *Superframe {
	s := &c.slots[:c.n][i]
	if s.open {
		c.close(s)
	}
	if len(s.Parts) > 1 && !s.Off.IsGSO() {
		s.finish()
	}
	return &s.Superframe
}

// Add parses a frame whose checksum is finished, and does what AddParsed does.
func (c *Coalescer) Add(dest, tag uint32, caps Caps, frame []byte) bool {
	var l Layout
	l.Parse(frame)
	return c.AddParsed(dest, tag, caps, frame, &l, Offload{})
}

// AddParsed takes a frame for destination dest, whose layout is l and of which off
// says what checksum is unfinished, if any; it is no superframe. One whose unfinished
// checksum is another than that of its own TCP or UDP header stays alone: that of
// what is tunnelled in it. The tag is given back in Superframe.Tags. It returns false
// when there is no slot left: the caller then writes all slots, calls Reset and adds
// the frame again.
func (c *Coalescer) AddParsed(dest, tag uint32, caps Caps, frame []byte, l *Layout, off Offload) bool {
	if l.Flags&LayoutFragment != 0 && c.open != 0 {
		c.closeBetween(dest, frame, l)
	}
	if l.Payload == 0 || l.Flags&LayoutFragment != 0 {
		return c.newSlot(dest, tag, frame, off) != nil
	}
	joins, opens := eligible(frame, l, caps)
	if off.NeedsChecksum() && !off.ownChecksum(l) {
		joins, opens = false, false
	}
	s := c.last
	var hash uint32
	if s == nil || !s.open || !s.sameFlow(dest, frame, l) {
		s = nil
		if c.open != 0 || opens {
			hash = FlowHash(frame, l, c.seed) ^ dest*0x9e3779b1
		}
		if c.open != 0 {
			s = c.find(hash, dest, frame, l)
		}
	}
	if s != nil {
		if joins && c.extend(s, frame, l, off) {
			s.Tags = append(s.Tags, tag)
			c.last = s
			return true
		}
		hash = s.hash
		c.close(s)
	}
	s = c.newSlot(dest, tag, frame, off)
	if s == nil {
		return false
	}
	if opens {
		c.openSlot(s, hash, frame, l)
	}
	return true
}

// Follow is Add for the frame that arrived right behind another one of its train, and is to go the same way: it joins the slot of the frame that was added
// with tag, if that is still the last one and this frame the next piece. It costs less, since nothing is looked for and little is parsed: the frame has to
// have the shape of the first one. False means that nothing was done; Add decides then. A frame that follows gets no tag.
func (c *Coalescer) Follow(tag uint32, frame []byte) bool {
	s := c.last
	if s == nil || !s.open || s.Tags[len(s.Tags)-1] != tag {
		return false
	}
	l := s.layout
	if len(frame) <= int(l.Payload) || !s.sameFlow(s.Dest, frame, &l) || !sameShape(frame, s.firstPart[0], &l) {
		return false
	}
	l.End = uint32(len(frame))
	// What the way out takes is what it took of the first one.
	joins, _ := eligible(frame, &l, Caps{TCP4: true, TCP6: true, UDP: true})
	if !joins {
		return false
	}
	var off Offload
	if s.unfinished {
		off, _ = Unfinished(frame, &l, len(frame))
	}
	return c.extend(s, frame, &l, off)
}

// find returns the open slot of the flow of frame, or nil.
func (c *Coalescer) find(hash, dest uint32, frame []byte, l *Layout) *slot {
	want := uint64(hash)<<16 | uint64(c.round)
	at := hash & c.mask
	for _, e := range c.flows[at : at+flowWays] {
		if e>>16 == want {
			if s := &c.slots[e&0xffff]; s.open && s.sameFlow(dest, frame, l) {
				return s
			}
		}
	}
	return nil
}

// newSlot returns a closed slot of one frame, or nil when all are taken.
func (c *Coalescer) newSlot(dest, tag uint32, frame []byte, off Offload) *slot {
	if c.n == len(c.slots) {
		return nil
	}
	s := &c.slots[c.n]
	c.n++
	s.Dest = dest
	s.Off = off
	s.firstPart[0], s.firstTag[0] = frame, tag
	s.Parts, s.Tags = s.firstPart[:], s.firstTag[:]
	s.open = false
	return s
}

// openSlot makes s, the newest slot, findable for the next frame of its flow.
func (c *Coalescer) openSlot(s *slot, hash uint32, frame []byte, l *Layout) {
	s.layout = *l
	s.size = uint16(l.End - uint32(l.Payload))
	s.total = l.End
	s.hash = hash
	s.ending = 0
	s.sound = false
	s.unfinished = s.Off.NeedsChecksum()
	s.open = true
	if l.Flags&LayoutIPv4 != 0 {
		s.id = binary.BigEndian.Uint16(frame[l.L3+4:])
	}
	if l.Proto == ProtoTCP {
		s.next = binary.BigEndian.Uint32(frame[l.L4+4:]) + uint32(s.size)
	}
	c.open++
	c.last = s
	at := hash & c.mask
	group := c.flows[at : at+flowWays]
	free := 0
	for i, e := range group {
		if uint16(e>>16) != c.round || !c.slots[e&0xffff].open {
			free = i
			break
		}
	}
	if e := group[free]; uint16(e>>16) == c.round {
		if old := &c.slots[e&0xffff]; old.open {
			c.close(old)
		}
	}
	group[free] = uint64(hash)<<32 | uint64(c.round)<<16 | uint64(c.n-1)
}

func (c *Coalescer) close(s *slot) {
	s.open = false
	c.open--
}

// closeBetween closes the open slots that a fragment may be of the flow of: those with
// its Ethernet header, addresses and protocol.
func (c *Coalescer) closeBetween(dest uint32, frame []byte, l *Layout) {
	from, to := l.L3+12, l.L3+20
	if l.Flags&LayoutIPv6 != 0 {
		from, to = l.L3+8, l.L3+40
	}
	for i := range c.slots[:c.n] {
		s := &c.slots[i]
		if !s.open || s.Dest != dest || s.layout.L3 != l.L3 || s.layout.Proto != l.Proto {
			continue
		}
		head := s.firstPart[0]
		if string(frame[:l.L3]) == string(head[:l.L3]) && string(frame[from:to]) == string(head[from:to]) {
			c.close(s)
		}
	}
}

// extend appends the payload of frame to s if the two are pieces of one stream, and
// closes s when nothing may follow.
func (c *Coalescer) extend(s *slot, frame []byte, l *Layout, off Offload) bool {
	n := l.End - uint32(l.Payload)
	limit := MaxParts
	if l.Proto == ProtoUDP {
		limit = maxPartsUDP
	}
	if n > uint32(s.size) || s.total+n > maxSuperframe || len(s.Parts) >= limit || !s.continues(frame, l) {
		return false
	}
	if !s.sound {
		if !verify(s.Parts[0], &s.layout, s.unfinished) {
			return false
		}
		s.sound = true
	}
	if !verify(frame, l, off.NeedsChecksum()) {
		return false
	}
	if len(s.Parts) == 1 {
		at := c.wide * MaxParts
		c.wide++
		s.Parts = append(c.parts[at:at:at+MaxParts], s.firstPart[0][:s.layout.End])
		s.Tags = append(c.tags[at:at:at+MaxParts], s.firstTag[0])
	}
	s.Parts = append(s.Parts, frame[l.Payload:l.End:l.End])
	s.total += n
	s.next += n
	if l.Flags&LayoutIPv4 != 0 {
		s.id = binary.BigEndian.Uint16(frame[l.L3+4:])
	}
	if l.Proto == ProtoTCP {
		s.ending = frame[l.L4+13] & (TCPFin | TCPPsh)
	}
	if n < uint32(s.size) || s.ending != 0 {
		c.close(s)
	}
	return true
}

// finish writes the headers of a superframe: lengths and flags of the whole, and
// the pseudo-header sum that FlagNeedsCsum asks for.
func (s *slot) finish() {
	l := &s.layout
	frame := s.Parts[0]
	l4len := s.total - uint32(l.L4)
	s.Off = Offload{
		Flags:     FlagNeedsCsum,
		HdrLen:    l.Payload,
		GSOSize:   s.size,
		CsumStart: l.L4,
	}
	var pseudo uint16
	ip4 := l.Flags&LayoutIPv4 != 0
	if ip4 {
		h := IPv4(frame[l.L3:l.L4])
		old, total := h.TotalLen(), uint16(s.total-uint32(l.L3))
		h.SetTotalLen(total)
		h.SetChecksum(UpdateChecksum(h.Checksum(), old, total))
		pseudo = PseudoIPv4(h, l.Proto, uint16(l4len))
	} else {
		h := IPv6(frame[l.L3:l.L4])
		h.SetPayloadLen(uint16(l4len))
		pseudo = PseudoIPv6(h, l.Proto, l4len)
	}
	if l.Proto == ProtoUDP {
		s.Off.GSOType, s.Off.CsumOffset = GSOUDPL4, UDPChecksumOffset
		h := UDP(frame[l.L4:])
		h.SetLength(uint16(l4len))
		h.SetChecksum(pseudo)
		return
	}
	s.Off.GSOType, s.Off.CsumOffset = GSOTCPv6, TCPChecksumOffset
	if ip4 {
		s.Off.GSOType = GSOTCPv4
	}
	h := TCP(frame[l.L4:])
	if h.Flags()&TCPCwr != 0 {
		s.Off.GSOType |= GSOECN // as tcp_gro_complete
	}
	h[13] |= s.ending
	h.SetChecksum(pseudo)
}
