package bench

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// paced is data of a connection: random, the same for the same seed, and as fast as pace allows until it is told to end.
type paced struct {
	random *rand.ChaCha8
	over   *atomic.Bool
	sum    [sha256.Size]byte
	n      int64
}

const (
	// streamChunk every streamInterval is some 130 Mb/s a connection: the four of them leave a small machine time to spare.
	streamChunk    = 32 << 10
	streamInterval = 2 * time.Millisecond
	// streamPatience is how long the rest of a stream may take to arrive once its sender has ended: many times TCP's longest pause after a short gap.
	streamPatience = 15 * time.Second
)

// send writes until over, and returns the digest of what it wrote.
func (p *paced) send(conn net.Conn) error {
	digest := sha256.New()
	for buf := make([]byte, streamChunk); !p.over.Load(); time.Sleep(streamInterval) {
		_, _ = p.random.Read(buf) // never fails
		digest.Write(buf)
		if _, err := conn.Write(buf); err != nil {
			return fmt.Errorf("after %d bytes: %w", p.n, err)
		}
		p.n += int64(len(buf))
	}
	digest.Sum(p.sum[:0])
	return conn.(*net.TCPConn).CloseWrite()
}

// TestStreamsOutliveVtepd: four TCP connections run while the vtepd of one end, and then that of the other, is killed and started again. None is lost and
// every byte arrives, in order and unharmed.
func TestStreamsOutliveVtepd(t *testing.T) {
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
	var listener net.Listener
	if err := ends[1].Host.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(ends[1].Addr, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var over atomic.Bool
	var streams [restartConns]*paced
	sent, received := make(chan error, restartConns), make(chan error, restartConns)
	var sums [restartConns][]byte
	var counts [restartConns]atomic.Int64
	for i := range streams {
		var conn net.Conn
		if err := ends[0].Host.Do(func() (err error) {
			conn, err = net.DialTimeout("tcp", listener.Addr().String(), iperfTimeout)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		far, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		streams[i] = &paced{random: rand.NewChaCha8([32]byte{byte(i)}), over: &over}
		go func() { sent <- streams[i].send(conn) }()
		go func() {
			digest := sha256.New()
			_, err := io.Copy(io.MultiWriter(digest, (*counter)(&counts[i])), far)
			sums[i] = digest.Sum(nil)
			received <- err
		}()
	}
	probe, err := startProbe(ends[0], ends[1])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(settleTime)
	for i, h := range []*lab.Host{a, b} {
		probe.longest.Store(0)
		began := time.Now()
		if err := daemons[i].Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-daemons[i].Done()
		if err := daemons[i].Start(h); err != nil {
			t.Fatal(err)
		}
		away := time.Since(began)
		time.Sleep(2 * settleTime)
		t.Logf("vtepd %d was away for %v; nothing arrived for %v at most", i, away, time.Duration(max(probe.longest.Load(), probe.silence())))
		var before [restartConns]int64
		for c := range before {
			before[c] = counts[c].Load()
		}
		alive := func() bool {
			for c := range before {
				if counts[c].Load() == before[c] {
					return false
				}
			}
			return true
		}
		for end := time.Now().Add(proofTime); !alive(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("vtepd %d: a connection gets nothing through any more", i)
				break
			}
		}
	}
	if err := probe.stop(); err != nil {
		t.Error(err)
	}
	over.Store(true)
	patience := time.After(streamPatience)
	for range 2 * restartConns {
		select {
		case err := <-sent:
			if err != nil {
				t.Errorf("a connection was lost: %v", err)
			}
		case err := <-received:
			if err != nil {
				t.Errorf("a connection was lost at its receiver: %v", err)
			}
		case <-patience:
			t.Fatalf("the streams have not ended within %v", streamPatience)
		}
	}
	for i, s := range streams {
		if s.n == 0 || counts[i].Load() != s.n || !bytes.Equal(sums[i], s.sum[:]) {
			t.Errorf("connection %d: %d bytes sent, %d received; the same: %v", i, s.n, counts[i].Load(), bytes.Equal(sums[i], s.sum[:]))
		}
	}
}
