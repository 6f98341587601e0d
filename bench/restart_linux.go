package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

const (
	// restartConns is the load beside a restart, in TCP connections. Each sends loadChunk bytes every loadInterval, 2 Gb/s together: on a machine without processor time to spare
	// datagrams wait longer than any restart takes.
	restartConns = 4
	loadChunk    = 64 << 10
	loadInterval = time.Millisecond
	// probeInterval is the distance between datagrams whose arrival shows a gap.
	probeInterval = 100 * time.Microsecond
	// probePriority is SCHED_FIFO's, so that the load does not hold the probe up.
	probePriority = 10
	// proofTime is how long a connection may take after a restart to show that it lives: longer than TCP's pause after a few lost segments.
	proofTime = 2 * time.Second
)

// restart kills the vtepd of one host while TCP and a probe run through its fast path, starts it anew, and looks at what became of them. The same time without a
// restart comes first.
func (p Programs) restart(l *lab.Lab, d time.Duration, record func(string, float64)) (err error) {
	if err := p.canRun(vethPort, fastOn)(); err != nil {
		return err
	}
	a, b, _ := underlay(l, Veth)
	ends, daemons, err := p.vethOverlay(l, fastOn, "", a, b)
	if err != nil {
		return err
	}
	if err := WaitReady(ends[0], ends[1]); err != nil {
		return err
	}
	load, err := startLoad(ends[0], ends[1], restartConns)
	if err != nil {
		return err
	}
	defer load.stop()
	probe, err := startProbe(ends[0], ends[1])
	if err != nil {
		return err
	}
	o, err := watchRestart(probe, daemons[0], a, d)
	// A probe that could not run saw nothing arrive, which is no gap of the switch: nothing is recorded before it is known that it did.
	if err = errors.Join(err, probe.stop()); err != nil {
		return err
	}
	record("restart-quiet", milliseconds(o.quiet))
	record("restart-away", milliseconds(int64(o.away)))
	record("restart-gap", milliseconds(o.gap))
	record("restart-lost", float64(load.lost()))
	return nil
}

// outage is what a restart came to.
type outage struct {
	quiet, gap int64 // nanoseconds: the longest time without a datagram, without and with a restart
	away       time.Duration
}

// watchRestart has a probe look on for d before and for d from when the daemon on h is killed.
func watchRestart(probe *probe, daemon *Daemon, h *lab.Host, d time.Duration) (o outage, err error) {
	time.Sleep(settleTime)
	probe.longest.Store(0)
	time.Sleep(d)
	o.quiet = probe.longest.Swap(0)

	began := time.Now()
	if err := daemon.Signal(syscall.SIGKILL); err != nil {
		return o, err
	}
	<-daemon.Done()
	if err := daemon.Start(h); err != nil {
		return o, err
	}
	o.away = time.Since(began)
	time.Sleep(max(0, d-time.Since(began)))
	o.gap = max(probe.longest.Load(), probe.silence())
	return o, nil
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }

// load is TCP connections that send at a steady rate.
type load struct {
	conns    []net.Conn
	listener net.Listener
	received [restartConns]atomic.Int64
}

func startLoad(from, to Site, conns int) (*load, error) {
	ld := &load{}
	err := to.Host.Do(func() (err error) {
		ld.listener, err = net.Listen("tcp", netip.AddrPortFrom(to.Addr, 0).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range conns {
		var conn net.Conn
		err := from.Host.Do(func() (err error) {
			conn, err = net.DialTimeout("tcp", ld.listener.Addr().String(), iperfTimeout)
			return err
		})
		if err != nil {
			ld.stop()
			return nil, err
		}
		ld.conns = append(ld.conns, conn)
		far, err := ld.listener.Accept()
		if err != nil {
			ld.stop()
			return nil, err
		}
		ld.conns = append(ld.conns, far)
		go func() {
			for buf := make([]byte, loadChunk); ; time.Sleep(loadInterval) {
				if _, err := conn.Write(buf); err != nil {
					return
				}
			}
		}()
		go func() { _, _ = io.Copy((*counter)(&ld.received[i]), far) }() // a connection that ends counts as lost
	}
	return ld, nil
}

// counter counts what is written to it.
type counter atomic.Int64

func (c *counter) Write(b []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(b)))
	return len(b), nil
}

// lost is how many connections get nothing through any more.
func (ld *load) lost() (n int) {
	var before [restartConns]int64
	for i := range before {
		before[i] = ld.received[i].Load()
	}
	for end := time.Now().Add(proofTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		n = 0
		for i := range before {
			if ld.received[i].Load() == before[i] {
				n++
			}
		}
		if n == 0 {
			return 0
		}
	}
	return n
}

func (ld *load) stop() {
	ld.listener.Close()
	for _, c := range ld.conns {
		c.Close()
	}
}

// probe is a datagram each probeInterval, and the longest time in which none arrived.
type probe struct {
	longest, last atomic.Int64 // nanoseconds; last since began
	// Datagrams: how many left, how many of them arrived, and how often one arrived once more.
	sent, arrived, doubled atomic.Int64

	began time.Time
	over  atomic.Bool
	done  chan error
	procs int // GOMAXPROCS before
}

// probeMost bounds the datagrams that are told apart.
const probeMost = 1 << 20

func startProbe(from, to Site) (*probe, error) {
	sink, err := socket(to.Host, netip.AddrPortFrom(to.Addr, 0), netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	port, err := boundPort(sink)
	if err != nil {
		unix.Close(sink)
		return nil, err
	}
	source, err := socket(from.Host, netip.AddrPortFrom(from.Addr, 0), netip.AddrPortFrom(to.Addr, port))
	if err != nil {
		unix.Close(sink)
		return nil, err
	}
	p := &probe{began: time.Now(), done: make(chan error, 2), procs: runtime.GOMAXPROCS(0)}
	runtime.GOMAXPROCS(p.procs + 2)
	go p.run(source, p.send)
	go p.run(sink, p.receive)
	return p, nil
}

// run calls one end on a thread that goes before the load.
func (p *probe) run(fd int, end func(fd int) error) {
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	defer unix.Close(fd)
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: probePriority}, 0)
	if err != nil {
		err = fmt.Errorf("sched_setattr: %w", err)
	} else {
		err = end(fd)
	}
	p.done <- err
}

func (p *probe) send(fd int) error {
	payload := make([]byte, loadPayload)
	interval := unix.NsecToTimespec(int64(probeInterval))
	for n := uint64(0); !p.over.Load(); n++ {
		binary.BigEndian.PutUint64(payload, n)
		if err := rawWrite(fd, payload); err != nil && !retryable(err) && !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
			return fmt.Errorf("probe: %w", err)
		} else if err == nil {
			p.sent.Add(1)
		}
		rawSleep(&interval)
	}
	return nil
}

func (p *probe) receive(fd int) error {
	seen := make([]bool, probeMost)
	for buf := make([]byte, 2048); !p.over.Load(); {
		if err := rawRead(fd, buf); err != nil {
			continue // looks whether it is over
		}
		now := int64(time.Since(p.began))
		if gap := now - p.last.Swap(now); gap > p.longest.Load() {
			p.longest.Store(gap)
		}
		if n := binary.BigEndian.Uint64(buf); n < probeMost {
			if seen[n] {
				p.doubled.Add(1)
			} else {
				p.arrived.Add(1)
			}
			seen[n] = true
		}
	}
	return nil
}

// silence is how long nothing has arrived up to now, in nanoseconds.
func (p *probe) silence() int64 { return int64(time.Since(p.began)) - p.last.Load() }

// stop ends the probe.
func (p *probe) stop() error {
	p.over.Store(true)
	err := errors.Join(<-p.done, <-p.done)
	runtime.GOMAXPROCS(p.procs)
	return err
}
