package xdp

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// TestOnceUnderChange changes the maps while a station sends: every frame reaches the other station or the packet socket, and no frame both.
//
//	station ── veth ── packet socket, slow_only, vtepd_device ── underlay ── station, sniffed
func TestOnceUnderChange(t *testing.T) {
	a, b := newSides(t, false, false, func(o *Options, _ *Domain) { o.Alone = false })
	sa, sb := a.veth("wa", 1450), b.veth("wb", 1450)
	meet(sa, sb)
	b.reader(sb.port.Ifindex).filter(b.f)
	r := a.reader(sa.port.Ifindex)
	r.filter(a.f)
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := sa.ping(sb.host.Overlay4()); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		return
	}
	far := sb.host.Sniff("eth0")

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		e := Entry{VNI: testVNI, MAC: [6]byte(sb.mac), ToPeer: true, Index: peerIndex}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			switch i % 3 {
			case 0:
				a.f.DelEntries(EntryKey{testVNI, [6]byte(sb.mac)})
				time.Sleep(50 * time.Microsecond)
				a.f.PutEntry(e)
			case 1:
				a.f.DelDomain(testVNI)
				a.f.PutDomain(testDomain())
			case 2:
				a.f.DelPort(sa.port.Index)
				a.f.PutPort(sa.port)
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	const total, batch = 20000, 200
	var frames [][]byte
	for i := range total {
		u := udpTo(7, 64)
		binary.BigEndian.PutUint32(u[8:], uint32(i))
		copy(u[12:], "sequence")
		frames = append(frames, packet{proto: 17, l4: u}.frame([6]byte(sb.mac), [6]byte(sa.mac)))
	}
	for i := 0; i < total; i += batch {
		sa.host.Inject("eth0", frames[i:i+batch]...)
	}
	close(stop)
	wg.Wait()

	seen := make(map[uint32]int)
	note := func(f []byte) bool {
		if len(f) < 54 || string(f[46:54]) != "sequence" {
			return false
		}
		seen[binary.BigEndian.Uint32(f[42:])]++
		return true
	}
	var slow, fast int
	buf := make([]byte, 2048)
	deadline := time.Now().Add(lab.Patience)
	for slow+fast < total && time.Now().Before(deadline) {
		n, _, err := unix.Recvfrom(r.fd, buf, 0)
		if err == nil {
			if note(buf[:n]) {
				slow++
			}
			continue
		}
		for _, f := range far.Collect(10 * time.Millisecond) {
			if note(f.Data) {
				fast++
			}
		}
	}
	lost, twice := 0, 0
	for i := range uint32(total) {
		switch n := seen[i]; {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	t.Logf("%d carried, %d to user space, totals %+v", fast, slow, a.f.Totals())
	if lost != 0 || twice != 0 {
		t.Errorf("%d frames lost, %d twice", lost, twice)
	}
	if slow == 0 || fast == 0 {
		t.Error("nothing changed, or nothing was carried")
	}
}
