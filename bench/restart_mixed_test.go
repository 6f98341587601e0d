package bench

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

const (
	// burstInterval is well below the time in which datagrams stay behind a superframe.
	burstInterval = 20 * time.Millisecond
	burstPackets  = 8
)

// startBursts sends superframes of UDP, which the fast path leaves to user space, until it is told to end. Nobody reads them.
func startBursts(from, to Site) (stop func(), err error) {
	var sink, source *net.UDPConn
	if err := to.Host.Do(func() (err error) {
		sink, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr, 0)))
		return err
	}); err != nil {
		return nil, err
	}
	if err := from.Host.Do(func() (err error) {
		source, err = net.DialUDP("udp", nil, sink.LocalAddr().(*net.UDPAddr))
		return err
	}); err != nil {
		sink.Close()
		return nil, err
	}
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		defer sink.Close()
		defer source.Close()
		raw, err := source.SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, loadPayload) })
		for buf := make([]byte, burstPackets*loadPayload); err == nil; time.Sleep(burstInterval) {
			select {
			case <-over:
				return
			default:
				_, _ = source.Write(buf)
			}
		}
	})
	return func() { close(over); running.Wait() }, nil
}

// TestMixedFlowOutlivesVtepd: datagrams go on where superframes between the same stations stop, when both vtepds are killed; while they are started again none
// arrives twice. In a VRF, too, where the programs cannot look for the sockets of user space.
//
//	workload ══ vtepd on a {eth0} ══ {eth0} vtepd on b ══ workload
func TestMixedFlowOutlivesVtepd(t *testing.T) {
	for name, vrf := range map[string]string{"no VRF": "", "in a VRF": "blue"} {
		t.Run(name, func(t *testing.T) {
			lab.NeedRoot(t)
			l := lab.New(t)
			a, b, _ := underlay(l, Veth)
			more := ""
			if vrf != "" {
				more = "vrf: " + vrf + "\n"
				for _, h := range []*lab.Host{a, b} {
					if out, err := h.Command("ip", "link", "add", vrf, "type", "vrf", "table", "10"); err != nil {
						t.Skipf("no VRF here (CONFIG_NET_VRF): %v: %s", err, out)
					}
					h.Must("ip", "link", "set", vrf, "up")
					h.Must("ip", "link", "set", "eth0", "master", vrf)
				}
			}
			p := buildVtepd(t)
			ends, daemons, err := p.vethOverlay(l, fastOn, more, a, b)
			if err != nil {
				t.Skipf("no fast path here: %v", err)
			}
			if err := WaitReady(ends[0], ends[1]); err != nil {
				t.Fatal(err)
			}
			stopBursts, err := startBursts(ends[0], ends[1])
			if err != nil {
				t.Fatal(err)
			}
			defer stopBursts()
			probe, err := startProbe(ends[0], ends[1])
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(settleTime)
			kill := func(i int) {
				t.Helper()
				if err := daemons[i].Signal(syscall.SIGKILL); err != nil {
					t.Error(err)
				}
				<-daemons[i].Done()
			}
			start := func(i int) {
				t.Helper()
				if err := daemons[i].Start([]*lab.Host{a, b}[i]); err != nil {
					t.Fatal(err)
				}
			}
			kill(0)
			kill(1)
			const dead = 500 * time.Millisecond
			time.Sleep(dead / 5)
			sent, arrived := probe.sent.Load(), probe.arrived.Load()
			time.Sleep(dead)
			sent, arrived = probe.sent.Load()-sent, probe.arrived.Load()-arrived
			t.Logf("both killed: %d of %d datagrams arrived", arrived, sent)
			if arrived < sent*9/10 {
				t.Errorf("both killed: %d of %d datagrams arrived", arrived, sent)
			}
			start(0)
			start(1)
			for range 3 {
				for i := range daemons {
					time.Sleep(settleTime / 5)
					kill(i)
					time.Sleep(settleTime / 5)
					start(i)
				}
			}
			time.Sleep(settleTime / 5)
			if err := probe.stop(); err != nil {
				t.Error(err)
			}
			sent, arrived = probe.sent.Load(), probe.arrived.Load()
			t.Logf("%d datagrams sent, %d lost, %d arrived twice", sent, sent-arrived, probe.doubled.Load())
			if n := probe.doubled.Load(); n != 0 {
				t.Errorf("%d of %d datagrams arrived twice", n, sent)
			}
			for _, d := range daemons {
				d.Stop()
			}
		})
	}
}
