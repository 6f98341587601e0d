package bench

import (
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestGapAndLoss cuts the cable between two hosts for a while, and then for good: what a restart is judged by must see both.
func TestGapAndLoss(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.New(t)
	from, to, err := buildBare(l, Veth)
	if err != nil {
		t.Fatal(err)
	}
	load, err := startLoad(from, to, restartConns)
	if err != nil {
		t.Fatal(err)
	}
	defer load.stop()
	probe, err := startProbe(from, to)
	if err != nil {
		t.Fatal(err)
	}
	cable := func(state string) {
		t.Helper()
		if _, err := to.Host.Command("ip", "link", "set", "eth0", state); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(settleTime)
	const cut = 300 * time.Millisecond
	probe.longest.Store(0)
	cable("down")
	time.Sleep(cut)
	cable("up")
	time.Sleep(settleTime)
	if gap := time.Duration(probe.longest.Load()); gap < cut || gap > 10*cut {
		t.Errorf("gap %v, want a little more than %v", gap, cut)
	}
	if lost := load.lost(); lost != 0 {
		t.Errorf("%d connections lost by a short cut, want 0", lost)
	}
	cable("down")
	time.Sleep(settleTime)
	if lost := load.lost(); lost != restartConns {
		t.Errorf("%d connections lost by a lasting cut, want %d", lost, restartConns)
	}
	if silence := time.Duration(probe.silence()); silence < settleTime {
		t.Errorf("silence of %v, want %v or more", silence, settleTime)
	}
	if err := probe.stop(); err != nil {
		t.Error(err)
	}
}
