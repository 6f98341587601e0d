// Package lab builds small networks out of network namespaces: hosts, the wires and switches between them, the processes on them, and packet
// sockets to look at a wire or to put a frame on it. Benchmarks and the namespace tests of other packages stand on it.
//
//	 namespace a                                   namespace b
//	┌──────────────────────┐                     ┌──────────────────────┐
//	│ overlay 198.51.100.1 │                     │ overlay 198.51.100.2 │
//	│       (made by what  │                     │                      │
//	│        is measured)  │                     │                      │
//	│ eth0    192.0.2.1 ───┼──── veth (Link) ────┼─── 192.0.2.2    eth0 │
//	└──────────────────────┘                     └──────────────────────┘
//
// Every namespace is a named one under /run/netns, so `ip netns exec` reaches it while a lab is up. Names carry a random suffix, so labs do not
// meet. Close removes everything, and a lab whose process was killed is swept away by the next one.
//
// The package knows nothing of vtepd, of VXLAN headers or of how a measurement is made.
package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Patience is how long a test waits for what must come before it calls it missing. A working build never waits that long: a machine that runs other
// tests beside it, under the race detector, may keep the kernel's own threads from running for seconds.
const Patience = 30 * time.Second

// ErrNeedRoot reports a process that may not make network namespaces.
var ErrNeedRoot = errors.New("needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")

// TB is what a lab uses of testing.TB, so that programs which are no tests do not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Lab is one network. Its methods may be called from several goroutines, those which build it (Host, Link, Switch, ...) only from one at a time.
//
// What cannot be built ends the test (TB.Fatalf), or under Run ends the run with an error: a lab that is half there measures nothing.
type Lab struct {
	tb     TB
	suffix string
	alive  *os.File // flocked while the lab lives: see sweep

	mu        sync.Mutex
	hosts     []*Host
	closers   []io.Closer
	farewells []func()
	closed    bool
}

// failure carries an error out of a lab that has no TB; Run takes it.
type failure struct{ err error }

// NeedRoot skips a test that may not make namespaces, and says how to run it.
func NeedRoot(tb TB) {
	tb.Helper()
	if err := Permitted(); err != nil {
		tb.Skipf("%v: run `sudo make test`", err)
	}
}

// New makes an empty lab for a test, which is skipped when the process may not make namespaces. The lab is closed when the test ends, however it ends.
func New(tb TB) *Lab {
	tb.Helper()
	NeedRoot(tb)
	l, err := open()
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	l.tb = tb
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Fatalf("%v", err)
		}
	})
	return l
}

// Run makes an empty lab for a program, calls f and closes the lab, also when f panics. Its error is that of f, of a building method, or of Close.
func Run(f func(*Lab) error) (err error) {
	if err := Permitted(); err != nil {
		return err
	}
	l, err := open()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() {
		p := recover()
		if broken, ok := p.(failure); ok {
			err, p = broken.err, nil
		}
		err = errors.Join(err, l.Close())
		if p != nil {
			panic(p)
		}
	}()
	return f(l)
}

func open() (*Lab, error) {
	var random [3]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	l := &Lab{suffix: hex.EncodeToString(random[:])}
	return l, l.announce()
}

// Suffix is the random part of this lab's names, for names a caller makes in the kernel himself.
func (l *Lab) Suffix() string { return l.suffix }

// TempDir makes a directory that goes with the lab. So do the pinned programs of a vtepd whose socket is in it.
func (l *Lab) TempDir() (string, error) {
	return os.MkdirTemp("", tempName(l.suffix))
}

// own has c closed with the lab.
func (l *Lab) own(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, c)
}

// BeforeClose has f called when the lab is closed, while its processes still run: for what a program puts outside of the lab's namespaces and takes away
// when it is asked to end. All such functions are called at the same time.
func (l *Lab) BeforeClose(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.farewells = append(l.farewells, f)
}

// fatalf ends the test, or the function given to Run.
func (l *Lab) fatalf(format string, args ...any) {
	err := fmt.Errorf("lab: "+format, args...)
	if l.tb != nil {
		l.tb.Helper()
		l.tb.Fatalf("%v", err)
	}
	panic(failure{err})
}

// Close kills the processes of the lab and removes its namespaces with all that is in them. It may be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	hosts, closers, farewells := l.hosts, l.closers, l.farewells
	wasClosed := l.closed
	l.hosts, l.closers, l.farewells, l.closed = nil, nil, nil, true
	l.mu.Unlock()
	if wasClosed {
		return nil
	}
	var errs []error
	var all sync.WaitGroup
	for _, f := range farewells {
		all.Go(f)
	}
	all.Wait()
	for _, h := range hosts {
		h.killAll()
	}
	for i := len(closers) - 1; i >= 0; i-- {
		if err := closers[i].Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, h := range hosts {
		errs = append(errs, h.remove())
	}
	errs = append(errs, removeFiles(l.suffix), l.vanish())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab: close: %w", err)
	}
	return nil
}
