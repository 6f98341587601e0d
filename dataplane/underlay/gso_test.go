package underlay

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestManglesEqualRuns(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-fc": false, "7.0.0-rc1": true, "7.0-rc1": true, "7.0.9": true, "7.1.0": true, "7.1-rc3": true,
		"7.1.4-generic": true, "7.1.5": false, "7.2.0": false, "5.4.0": false, "": false, "seven": false, "7": false,
	} {
		if got := manglesEqualRuns(release); got != want {
			t.Errorf("%q: %v, want %v", release, got, want)
		}
	}
}

// TestProbedSegments holds the probe against what the kernel then takes.
func TestProbedSegments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		l := newLab(t)
		a, b := l.pair(v6, nil)
		segments := a.Caps().MaxSegments
		if segments != segmentsOld && segments != segmentsNew {
			t.Fatalf("%d segments", segments)
		}
		tx, to := a.NewTransmitter(), NewDest(b.Local())
		for range segments {
			tx.Queue(to, Class{}, 0, []byte("12345678"), nil, 0)
		}
		tx.Flush(func(_ uint32, err error) { t.Error(err) })
		if c := a.Counters(); c.Messages != 1 || c.GSORefused != 0 {
			t.Errorf("%d datagrams: %+v, want one message", segments, c)
		}
		collect(t, b.Receiver(0), segments)

		// And the largest run there is: by bytes.
		size := 1452
		room := maxPayload4
		if v6 {
			room = maxPayload6
		}
		for range room / size {
			tx.Queue(to, Class{}, 0, make([]byte, size), nil, 0)
		}
		tx.Queue(to, Class{}, 0, make([]byte, room%size), nil, 0)
		before := a.Counters().Messages
		tx.Flush(func(_ uint32, err error) { t.Error(err) })
		if n := a.Counters().Messages - before; n != 1 {
			t.Errorf("a run of %d bytes took %d messages", room, n)
		}
		collect(t, b.Receiver(0), room/size+1)
		a.Close()
		b.Close()
	}
}

// TestProbeWithLoopbackDown: a namespace whose loopback was never set up.
func TestProbeWithLoopbackDown(t *testing.T) {
	newLab(t)
	want := mustOpen(t, Config{Local: ip(addrA4), Offload: true, Port: 4790}).Caps().MaxSegments
	setDown(t, "lo")
	s := mustOpen(t, Config{Local: ip(addrA4), Offload: true})
	if c := s.Caps(); !c.GSO || c.MaxSegments != want {
		t.Errorf("loopback down: %+v, want GSO with %d segments", c, want)
	}
	if unix.Uname(&unix.Utsname{}) != nil || kernelRelease() == "" {
		t.Error("no kernel release")
	}
}
