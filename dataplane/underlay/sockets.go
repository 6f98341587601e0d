package underlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Sockets is all that one VTEP needs of the underlay. Its methods may be called
// from any goroutine.
type Sockets struct {
	cfg  Config
	caps Caps
	is6  bool

	// Read by every Flush, written once or never.
	gso         atomic.Bool
	labels      flowLabels
	maxSegments atomic.Int32
	away        atomic.Bool

	checked   *pool                // transmit sockets with UDP checksums
	unchecked atomic.Pointer[pool] // their twins without, opened at first use

	receivers []*Receiver
	errors    *errorWatch

	mu           sync.Mutex // guards what follows, and the opening of unchecked
	transmitters []*Transmitter
	groups       []*Receiver
	left         Counters // of groups that were left
	degradation  string   // why offload was switched off at run time
	pending      []ICMPError
	closed       bool

	icmp     atomic.Uint64
	degraded chan Degradation
}

// Degradation tells that something was switched off for good while running. It
// is an event to log, not an error: everything goes on, more slowly.
type Degradation struct {
	What   string         // "gso", "gso-segments" or "flow-label"
	Dest   netip.AddrPort // where the message that brought it to light was going
	Errno  unix.Errno
	Reason string // one sentence for the operator
}

// pool is a set of transmit sockets with distinct source ports.
type pool struct {
	fds   []int
	ports []uint16
	parts []portRange // of the range, one for each socket
}

// portRange is a range of ports: low <= port < high.
type portRange struct{ low, high int }

// Open binds everything. On failure nothing stays open.
func Open(c Config) (*Sockets, error) {
	if err := c.normalise(); err != nil {
		return nil, err
	}
	s := &Sockets{cfg: c, is6: c.Local.Is6(), degraded: make(chan Degradation, 8)}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sockets) open() error {
	for p, port := range s.cfg.ports() {
		c := s.cfg
		c.Port = port
		for i := range s.cfg.Receivers {
			how, with := firstOfPort, (*Receiver)(nil)
			if i > 0 {
				how = moreOfPort
			}
			if p > 0 {
				with = s.receivers[i]
			}
			r, err := openReceiver(&c, how, with)
			if err != nil {
				return err
			}
			s.receivers = append(s.receivers, r)
		}
	}
	var err error
	if s.checked, err = s.openPool(); err != nil {
		return err
	}
	if s.errors, err = newErrorWatch(); err != nil {
		return err
	}
	if err := s.errors.add(s.checked); err != nil {
		return err
	}
	s.negotiate()
	return nil
}

// negotiate settles Caps once all sockets are there.
func (s *Sockets) negotiate() {
	s.caps.MaxSegments = 1
	s.caps.ReceiveBuffer = s.receivers[0].buffer
	s.caps.GRO = s.receivers[0].gro
	if s.is6 && s.cfg.FlowLabels {
		s.labels.choose(s.checked.fds[0], s.cfg.Local, s.checked.ports[0])
	}
	switch {
	case !s.cfg.Offload:
		s.caps.Reason = "switched off by configuration"
		return
	case s.cfg.Refuse.GSO:
		s.caps.Reason = "UDP_SEGMENT: refused for a test"
	default:
		segments, err := probeGSO(s.checked.fds[0], s.cfg.Local, s.checked.ports[0])
		if err != nil {
			s.caps.Reason = fmt.Sprintf("UDP_SEGMENT: %v", err)
			break
		}
		s.caps.GSO = true
		s.caps.MaxSegments = segments
	}
	if !s.caps.GRO {
		if s.caps.Reason != "" {
			s.caps.Reason += "; "
		}
		s.caps.Reason += s.receivers[0].groReason
	}
	s.gso.Store(s.caps.GSO)
	s.maxSegments.Store(int32(s.caps.MaxSegments))
}

// Caps is what there is now: a Degradation shows here too.
func (s *Sockets) Caps() Caps {
	c := s.caps
	c.GSO = s.gso.Load()
	c.MaxSegments = max(1, int(s.maxSegments.Load()))
	if !c.GSO {
		c.MaxSegments = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.FlowLabel, c.FlowLabelReason = s.labels.on.Load(), s.labels.reason
	if s.degradation != "" {
		c.Reason = s.degradation
	}
	return c
}

// Degraded delivers what was switched off while running. It holds a few events
// for a reader that is late; Caps has the final state in any case.
func (s *Sockets) Degraded() <-chan Degradation { return s.degraded }

// degrade records an event. Two workers may meet the same trouble in the same
// moment: the one that made the change reports it.
func (s *Sockets) degrade(d Degradation) {
	s.mu.Lock()
	s.degradation = d.Reason
	s.mu.Unlock()
	select {
	case s.degraded <- d:
	default:
	}
}

// Local is the source address of all datagrams and the port listened on.
func (s *Sockets) Local() netip.AddrPort { return netip.AddrPortFrom(s.cfg.Local, s.cfg.Port) }

// SetAway says whether this host has given up the local address, or may not use it yet. Until it is back each datagram is reported as failed with EADDRNOTAVAIL: the kernel refuses to
// send from an IPv4 address that is on no interface, and goes on sending from an IPv6 one that a socket is bound to (as of Linux 6.18). Any goroutine may call it.
func (s *Sockets) SetAway(away bool) { s.away.Store(away) }

// SourcePorts lists the ports of the transmit pool.
func (s *Sockets) SourcePorts() []uint16 { return append([]uint16(nil), s.checked.ports...) }

// SourcePort is the port that datagrams of a flow leave from, by the class and the
// hash that are given to Transmitter.Queue; 0 when that is not known before the
// first one leaves.
func (s *Sockets) SourcePort(c Class, hash uint32) uint16 {
	from := s.checked
	if c.NoChecksum {
		from = s.unchecked.Load()
	}
	if from == nil {
		return 0
	}
	_, socket := spread(hash, uint32(len(s.checked.fds)))
	return from.ports[socket]
}

// Receiver is the i-th receive socket of Config.Port, for the i-th worker.
func (s *Sockets) Receiver(i int) *Receiver { return s.receivers[i] }

// ReceiversOf lists the i-th receive sockets of all ports, for the i-th worker,
// that of Config.Port first. They read into the same memory: what one returned
// is good until the next Recv of any.
func (s *Sockets) ReceiversOf(i int) []*Receiver {
	var list []*Receiver
	for ; i < len(s.receivers); i += s.cfg.Receivers {
		list = append(list, s.receivers[i])
	}
	return list
}

// openPool binds one transmit socket in each of SourcePorts equal parts of the
// range, so that also a router that hashes few bits of the source port sees them
// differ. A range that is narrow or crowded gives fewer sockets, one at least.
func (s *Sockets) openPool() (*pool, error) {
	first := int(s.cfg.SourceRange[0])
	span := int(s.cfg.SourceRange[1]) - first + 1
	n := min(s.cfg.SourcePorts, span)
	p := &pool{fds: make([]int, 0, n), ports: make([]uint16, 0, n)}
	var full error
	for i := range n {
		part := portRange{first + span*i/n, first + span*(i+1)/n}
		fd, port, err := s.openTransmit(part, false)
		if errors.Is(err, unix.EADDRINUSE) {
			full = err
			continue
		}
		if err != nil {
			p.close()
			return nil, err
		}
		p.fds = append(p.fds, fd)
		p.ports = append(p.ports, port)
		p.parts = append(p.parts, part)
	}
	if len(p.fds) == 0 {
		return nil, full
	}
	return p, nil
}

// openTwins binds a socket without checksums beside each of the pool: in the same
// part, and where that is full to the very same port.
func (s *Sockets) openTwins() (*pool, error) {
	p := &pool{}
	for i, part := range s.checked.parts {
		fd, port, err := s.openTransmit(part, true)
		if errors.Is(err, unix.EADDRINUSE) {
			port = s.checked.ports[i]
			if err = set(s.checked.fds[i], unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR"); err == nil {
				fd, err = openTransmitSocket(&s.cfg, port, true, true)
			}
		}
		if err != nil {
			p.close()
			return nil, err
		}
		p.fds = append(p.fds, fd)
		p.ports = append(p.ports, port)
	}
	return p, nil
}

// openTransmit binds a socket to a free port of a part. Chance comes first, so
// that two VTEPs in one fabric do not use the same few ports; then the part is
// walked, so that a crowded host is no reason to fail.
func (s *Sockets) openTransmit(part portRange, noChecksum bool) (fd int, port uint16, err error) {
	err = unix.EADDRINUSE
	start := rand.IntN(part.high - part.low)
	for i := range part.high - part.low {
		port = uint16(part.low + (start+i)%(part.high-part.low))
		if slices.Contains(s.cfg.ports(), port) {
			continue
		}
		fd, err = openTransmitSocket(&s.cfg, port, noChecksum, false)
		if err != unix.EADDRINUSE {
			break
		}
	}
	if err != nil {
		return -1, 0, fmt.Errorf("underlay: transmit socket %v, ports %d to %d: %w",
			s.cfg.Local, part.low, part.high-1, explainBind(err, &s.cfg, port))
	}
	return fd, port, nil
}

// OpenNoChecksum opens the sockets for Class.NoChecksum now, in the namespace of
// the calling thread, rather than when the first such datagram is flushed.
func (s *Sockets) OpenNoChecksum() error {
	_, err := s.twins()
	return err
}

// twins opens the checksum-less pool at its first use.
func (s *Sockets) twins() (*pool, error) {
	if p := s.unchecked.Load(); p != nil {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.unchecked.Load(); p != nil {
		return p, nil
	}
	if s.closed {
		return nil, unix.EBADF
	}
	p, err := s.openTwins()
	if err != nil {
		return nil, err
	}
	if err := s.errors.add(p); err != nil {
		p.close()
		return nil, err
	}
	s.unchecked.Store(p)
	return p, nil
}

func (p *pool) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}

// Close gives everything back. No Receiver or Transmitter may be in use any
// more, and the slices that Recv returned are gone afterwards.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.errors != nil {
		s.errors.close()
	}
	for _, r := range append(s.groups, s.receivers...) {
		r.close()
	}
	if s.checked != nil {
		s.checked.close()
	}
	if p := s.unchecked.Load(); p != nil {
		p.close()
	}
}
