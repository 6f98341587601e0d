package dataplane

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// meetingDevice is not closed before another one is about to be.
type meetingDevice struct {
	portDevice
	closing *atomic.Int32
	err     error
}

var errAlone = errors.New("nobody else is being closed")

func (d meetingDevice) Close() error {
	d.closing.Add(1)
	err := errAlone
	for end := time.Now().Add(lab.Patience); err == errAlone && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if d.closing.Load() > 1 {
			err = d.err
		}
	}
	return errors.Join(d.portDevice.Close(), err)
}

// TestCloseManyPorts: the devices of ports are closed several at once, and what one of them says is told.
func TestCloseManyPorts(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, nil)
	s.set(VNIConfig{VNI: 42, Learning: true})
	failure := errors.New("failure")
	var closing atomic.Int32
	names := []string{"p0", "p1", "p2"}
	for _, name := range names {
		s.port(name, 42)
	}
	if err := s.Switch.halt(); err != nil {
		t.Fatal(err)
	}
	defer s.Switch.release()
	for _, name := range names {
		d := meetingDevice{portDevice: s.Switch.ports[name].published.link.dev, closing: &closing}
		if name == "p1" {
			d.err = failure
		}
		s.Switch.ports[name].published.link.dev = d
	}
	if err := s.Switch.closePorts(); !errors.Is(err, failure) || errors.Is(err, errAlone) {
		t.Errorf("close: %v", err)
	}
	if n := closing.Load(); n != 3 {
		t.Errorf("%d devices were closed, not 3", n)
	}
}

// TestAskedWhileClosing: whoever asks for reports while the switch is closed gets answers, and nothing that is being closed is touched for them.
func TestAskedWhileClosing(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	for _, kind := range []PortType{PortTAP, PortVeth} {
		for i := range 3 {
			name := fmt.Sprintf("%s%d", kind, i)
			c := PortConfig{Name: name, Type: kind, Untagged: 42}
			if kind == PortVeth {
				c.IfName = name + "w"
			}
			s.do(func() error { return s.AddPort(c) })
		}
	}
	var over atomic.Bool
	var asking sync.WaitGroup
	asking.Go(func() {
		for !over.Load() {
			s.Ports()
			s.VNIs()
			s.Peers()
			s.Drops()
			s.Status()
		}
	})
	if err := s.Switch.Close(); err != nil {
		t.Error(err)
	}
	over.Store(true)
	asking.Wait()
}
