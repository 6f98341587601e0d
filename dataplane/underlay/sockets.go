package underlay

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
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
	maxSegments atomic.Int32

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
	What   string         // "gso" or "gso-segments"
	Dest   netip.AddrPort // where the message that brought it to light was going
	Errno  unix.Errno
	Reason string // one sentence for the operator
}

// pool is a set of transmit sockets with distinct source ports.
type pool struct {
	fds   []int
	ports []uint16
}

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
	for i := range s.cfg.Receivers {
		how := firstOfPort
		if i > 0 {
			how = moreOfPort
		}
		r, err := openReceiver(&s.cfg, how, nil)
		if err != nil {
			return err
		}
		s.receivers = append(s.receivers, r)
	}
	var err error
	if s.checked, err = s.openPool(false); err != nil {
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

// SourcePorts lists the ports of the transmit pool.
func (s *Sockets) SourcePorts() []uint16 { return append([]uint16(nil), s.checked.ports...) }

// Receivers is the number of receive sockets.
func (s *Sockets) Receivers() int { return len(s.receivers) }

// Receiver is the i-th receive socket, for the i-th worker.
func (s *Sockets) Receiver(i int) *Receiver { return s.receivers[i] }

// openPool binds one transmit socket in each of SourcePorts equal parts of the
// dynamic port range, so that also a router that hashes few bits of the source
// port sees them differ.
func (s *Sockets) openPool(noChecksum bool) (*pool, error) {
	n := s.cfg.SourcePorts
	p := &pool{fds: make([]int, 0, n), ports: make([]uint16, 0, n)}
	const span = lastSourcePort - firstSourcePort + 1
	for i := range n {
		low, high := firstSourcePort+span*i/n, firstSourcePort+span*(i+1)/n
		fd, port, err := s.openTransmit(low, high, noChecksum)
		if err != nil {
			p.close()
			return nil, err
		}
		p.fds = append(p.fds, fd)
		p.ports = append(p.ports, port)
	}
	return p, nil
}

// openTransmit binds a socket to a free port in [low, high). Chance comes
// first, so that two VTEPs in one fabric do not use the same few ports; then
// the part is walked, so that a crowded host is no reason to fail.
func (s *Sockets) openTransmit(low, high int, noChecksum bool) (fd int, port uint16, err error) {
	start := low + rand.IntN(high-low)
	for i := range high - low {
		port = uint16(low + (start-low+i)%(high-low))
		if port == s.cfg.Port {
			continue
		}
		fd, err = openTransmitSocket(&s.cfg, port, noChecksum)
		if err != unix.EADDRINUSE {
			break
		}
	}
	if err != nil {
		return -1, 0, fmt.Errorf("underlay: transmit socket %v, ports %d to %d: %w",
			s.cfg.Local, low, high-1, explainBind(err, s.cfg.Local, port))
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
	p, err := s.openPool(true)
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
