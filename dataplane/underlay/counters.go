package underlay

import "sync/atomic"

// Counters is a reading of what the sockets did since [Open]. Every figure only
// grows.
type Counters struct {
	SendCalls  uint64 // sendmmsg(2) system calls, failed ones included
	Messages   uint64 // messages the kernel took
	Datagrams  uint64 // datagrams in them
	GSORuns    uint64 // messages that carried more than one datagram
	GSORefused uint64 // messages sent again without GSO after EINVAL or EIO
	EAGAIN     uint64 // send buffer was full
	ENOBUFS    uint64 // device queue was full, or no memory
	EMSGSIZE   uint64 // datagrams larger than the path MTU
	Unsent     uint64 // datagrams reported as failed, whatever the reason
	Retries    uint64 // sends repeated because the error may have been an earlier datagram's

	RecvCalls     uint64 // recvmmsg(2) system calls
	RecvMessages  uint64 // messages received
	RecvTruncated uint64 // of them, those too long for their slot
	RecvErrors    uint64 // errors pending on a receive socket, swallowed

	ICMP uint64 // ICMP and local errors read from the error queues
}

// txCounters belongs to one Transmitter: one writer, so the line stays in its
// core's cache, and readers from anywhere.
type txCounters struct {
	calls, messages, datagrams, gsoRuns, gsoRefused atomic.Uint64
	eagain, enobufs, emsgsize, unsent, retries      atomic.Uint64
	_                                               [48]byte // the next Transmitter's line is its own
}

// rxCounters belongs to one Receiver.
type rxCounters struct {
	calls, messages, truncated, errors atomic.Uint64
}

// bump adds what one system call or one flush gathered; most figures are zero
// most of the time, and then cost a compare.
func bump(c *atomic.Uint64, n uint64) {
	if n != 0 {
		c.Add(n)
	}
}

// Counters sums over all receivers and transmitters. Safe from any goroutine.
func (s *Sockets) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.left
	for _, t := range s.transmitters {
		c.SendCalls += t.count.calls.Load()
		c.Messages += t.count.messages.Load()
		c.Datagrams += t.count.datagrams.Load()
		c.GSORuns += t.count.gsoRuns.Load()
		c.GSORefused += t.count.gsoRefused.Load()
		c.EAGAIN += t.count.eagain.Load()
		c.ENOBUFS += t.count.enobufs.Load()
		c.EMSGSIZE += t.count.emsgsize.Load()
		c.Unsent += t.count.unsent.Load()
		c.Retries += t.count.retries.Load()
	}
	for _, r := range s.receivers {
		c.add(&r.count)
	}
	for _, r := range s.groups {
		c.add(&r.count)
	}
	c.ICMP = s.icmp.Load()
	return c
}

func (c *Counters) add(r *rxCounters) {
	c.RecvCalls += r.calls.Load()
	c.RecvMessages += r.messages.Load()
	c.RecvTruncated += r.truncated.Load()
	c.RecvErrors += r.errors.Load()
}
