package underlay

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

func setDown(tb testing.TB, name string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetDown(link))
}

// TestWorkers: four receive sockets share the port. Each flow stays with one of
// them, and nothing is lost between them.
func TestWorkers(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, func(c *Config) { c.Receivers = 4 })
	tx, to := a.NewTransmitter(), NewDest(b.Local())
	const flows, each = 50, 10
	for i := range uint32(flows * each) {
		if !tx.Queue(to, Class{}, i%flows, binary.BigEndian.AppendUint32(nil, i), []byte("frame"), i) {
			t.Fatal("batch is full")
		}
	}
	tx.Flush(func(tag uint32, err error) { t.Errorf("%d: %v", tag, err) })
	home := map[uint16]int{}
	got, busy := 0, 0
	for i := range b.cfg.Receivers {
		messages, err := b.Receiver(i).Recv(MaxMessages)
		must(t, err)
		if len(messages) > 0 {
			busy++
		}
		for _, m := range messages {
			for _, d := range split(m) {
				got++
				if at, ok := home[d.source.Port()]; ok && at != i {
					t.Errorf("source port %d came to receivers %d and %d", d.source.Port(), at, i)
				}
				home[d.source.Port()] = i
			}
		}
	}
	if got != flows*each || busy < 2 {
		t.Errorf("%d of %d datagrams at %d receivers", got, flows*each, busy)
	}
}

// TestSharedSockets: workers send through the same sockets, with errors coming
// back, while others read the errors and the figures. Run with -race.
func TestSharedSockets(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(false, func(c *Config) { c.SourcePorts = 2; c.ReceiveBuffer = 32 << 20 })
	must(t, a.OpenNoChecksum()) // the workers' threads are not in the namespace
	good, closed := NewDest(b.Local()), NewDest(netip.AddrPortFrom(b.Local().Addr(), 9))
	var workers, readers sync.WaitGroup
	const batches, size = 60, 40
	for range 3 {
		tx := a.NewTransmitter()
		workers.Go(func() {
			p := payload(300, 0)
			for i := range uint32(batches) {
				for j := range uint32(size) {
					to := good
					if j%8 == 7 {
						to = closed
					}
					tx.Queue(to, Class{NoChecksum: i%5 == 0}, j, p[:8], p[8:], j)
				}
				tx.Flush(func(tag uint32, err error) { t.Errorf("%d: %v", tag, err) })
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				a.DrainErrors(func(ICMPError) {})
				_, _ = a.Counters(), a.Caps()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	readers.Wait()
	collect(t, b.Receiver(0), 3*batches*size*7/8)
	if c := a.Counters(); c.Datagrams != 3*batches*size || c.Unsent != 0 {
		t.Errorf("counters %+v", c)
	}
}

// TestCloseGivesAllBack counts descriptors and address space.
func TestCloseGivesAllBack(t *testing.T) {
	newLab(t)
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	cycle := func() {
		s, err := Open(Config{Local: ip(addrA4), Receivers: 3, Offload: true})
		must(t, err)
		_, err = s.Join(netip.AddrPortFrom(ip("239.1.1.1"), 0), 0, nil)
		must(t, err)
		must(t, s.OpenNoChecksum())
		if _, err := Open(Config{Local: ip(addrA4), Receivers: 3}); err == nil {
			t.Fatal("opened twice")
		}
		s.Close()
		s.Close()
	}
	cycle()
	before := open()
	for range 10 {
		cycle()
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
