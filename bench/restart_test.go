package bench

import (
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestGapAndLoss cuts the cable between two hosts for a while, and then for good: what a restart is judged by must see both.
//
//	a {eth0} ══ ╳ ══ {eth0} b
func TestGapAndLoss(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.New(t)
	from, to, err := buildBare(l, Veth)
	if err != nil {
		t.Fatal(err)
	}
	if err := WaitReady(from, to); err != nil {
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
	if gap := time.Duration(max(probe.longest.Load(), probe.silence())); gap < cut || gap > 10*cut {
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

// TestKnownTrafficOutlivesVtepd: with both vtepds killed, what they knew goes on.
//
//	workload ══ vtepd on a {eth0} ══ {eth0} vtepd on b ══ workload
func TestKnownTrafficOutlivesVtepd(t *testing.T) {
	lab.NeedRoot(t)
	p := buildVtepd(t)
	l := lab.New(t)
	a, b, _ := underlay(l, Veth)
	ends, daemons, err := p.vethOverlay(l, fastOn, "", a, b)
	if err != nil {
		t.Skipf("no fast path here: %v", err)
	}
	if err := WaitReady(ends[0], ends[1]); err != nil {
		t.Fatal(err)
	}
	probe, err := startProbe(ends[0], ends[1])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(settleTime)
	for _, d := range daemons {
		if err := d.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-d.Done()
	}
	const dead = 500 * time.Millisecond
	time.Sleep(dead)
	if silence := time.Duration(probe.silence()); silence > dead/2 {
		t.Errorf("nothing arrived for %v", silence)
	}
	if err := probe.stop(); err != nil {
		t.Error(err)
	}
	// Whoever comes next at their sockets takes away what they left pinned.
	for i, h := range []*lab.Host{a, b} {
		if err := daemons[i].Start(h); err != nil {
			t.Error(err)
		}
	}
}

// TestRestartNeitherLosesNorDoubles kills and starts vtepd under known traffic: every datagram arrives, and once. What the former's programs carry, the
// sockets of the next process must not take as well, and nothing may stand in the programs' way before they are exchanged.
func TestRestartNeitherLosesNorDoubles(t *testing.T) {
	lab.NeedRoot(t)
	p := buildVtepd(t)
	l := lab.New(t)
	a, b, _ := underlay(l, Veth)
	ends, daemons, err := p.vethOverlay(l, fastOn, "", a, b)
	if err != nil {
		t.Skipf("no fast path here: %v", err)
	}
	if err := WaitReady(ends[0], ends[1]); err != nil {
		t.Fatal(err)
	}
	probe, err := startProbe(ends[0], ends[1])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(settleTime)
	early := probe.sent.Load() - probe.arrived.Load() // until both ends had learned
	for range 3 {
		for i, h := range []*lab.Host{a, b} {
			if err := daemons[i].Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			<-daemons[i].Done()
			time.Sleep(settleTime / 5)
			if err := daemons[i].Start(h); err != nil {
				t.Fatal(err)
			}
			time.Sleep(settleTime / 5)
		}
	}
	if err := probe.stop(); err != nil {
		t.Error(err)
	}
	sent, arrived, doubled := probe.sent.Load(), probe.arrived.Load(), probe.doubled.Load()
	t.Logf("%d datagrams sent, %d lost, %d arrived twice", sent, sent-arrived, doubled)
	if doubled != 0 {
		t.Errorf("%d of %d datagrams arrived twice", doubled, sent)
	}
	if lost := sent - arrived - max(early, 0); lost > 5 { // some are under way at the end
		t.Errorf("%d of %d datagrams lost over 6 restarts", lost, sent)
	}
	for _, d := range daemons {
		d.Stop()
	}
}
