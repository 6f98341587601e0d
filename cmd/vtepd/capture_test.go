package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"vtepd/bench/lab"
)

// recording is a vtepctl capture into a file.
type recording struct {
	*lab.Process
	path string
}

// record begins a capture and waits until it has begun.
func (d *daemon) record(t *testing.T, words ...string) *recording {
	t.Helper()
	r := &recording{path: filepath.Join(t.TempDir(), "capture.pcapng")}
	var err error
	if r.Process, err = d.host.Start(vtepctlPath, append([]string{"--socket", d.socket, "capture", "write", r.path}, words...)...); err != nil {
		t.Fatal(err)
	}
	soon(t, "the capture begins", func() bool {
		select {
		case <-r.Done():
			t.Fatalf("capture %v ended: %v: %s", words, r.Wait(), r.Output())
		default:
		}
		st, err := os.Stat(r.path)
		return err == nil && st.Size() > 0
	})
	return r
}

// pings counts the echo requests and replies in what was captured so far, by interface and ICMP type (8: request, 0: reply); largest is the longest frame.
func (r *recording) pings(t *testing.T) (counts map[string]int, largest int) {
	t.Helper()
	data, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	counts = make(map[string]int)
	in, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, ci, err := in.ReadPacketData()
		if err != nil {
			return counts, largest
		}
		largest = max(largest, ci.Length)
		i, err := in.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		if icmp, ok := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
			counts[fmt.Sprintf("%s %d", i.Name, icmp.TypeCode.Type())]++
		}
	}
}

// interrupt ends the capture as Ctrl-C does, and returns what it said.
func (r *recording) interrupt(t *testing.T) string {
	t.Helper()
	if err := r.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Errorf("capture interrupted: %v: %s", err, r.Output())
	}
	return r.Output()
}

// TestCapture: what is captured of a ping, by port, peer, VNI and of all; that the fast path carries what it carried before when the capture ends, also when its
// client is killed; and that every reader of captures can read it.
//
//	tenant {vtep0 198.51.100.x} ── vtepd on a {eth0} ══ {eth0} vtepd on b {vtep0 198.51.100.y}
func TestCapture(t *testing.T) {
	t.Parallel()
	everySetting(t, func(t *testing.T, s setting, over family) {
		l := lab.New(t)
		ha, hb, tenant := l.Host("a"), l.Host("b"), l.Host("tenant")
		l.Link(ha, hb, lab.LinkOptions{})
		own, theirs := ha.Underlay4(), hb.Underlay4()
		if over.v6 {
			own, theirs = ha.Underlay6(), hb.Underlay6()
		}
		a := start(t, l, ha, fmt.Sprintf("local: \"%v\"\n%sudp6-zero-checksum: both\nvnis:\n- {vni: 42, peers: [\"%v\"]}\nports:\n- {%s, vni: 42, netns: %s, addresses: [%v]}\n",
			own, s.yaml, theirs, s.port("vtep0"), tenant.Name(), tenant.OverlayPrefixes()[0]))
		start(t, l, hb, overlay(theirs, own, hb.OverlayPrefixes(), "udp6-zero-checksum: both", "fastpath: off"))
		reach(t, tenant, hb.Overlay4())
		onFastPath := func() bool {
			for _, what := range []string{"port", "peer", "vni"} {
				for _, o := range a.list(t, what, "show") {
					if o["fastpath"] != true {
						return false
					}
				}
			}
			return true
		}
		if s.fast {
			soon(t, "on the fast path", onFastPath)
		}
		const echoes = 5
		port := []string{"vtep0 8", "vtep0 0"}
		peer := []string{theirs.String() + " 8", theirs.String() + " 0"}
		for _, c := range []struct {
			words string
			want  []string
		}{
			{"", append(port, peer...)},
			{"vni 42", append(port, peer...)},
			{"port vtep0", port},
			{"peer " + theirs.String(), peer},
			{"port vtep0 peer " + theirs.String(), []string{peer[0], port[1]}},
			{"dir in snaplen 60", []string{port[0], peer[1]}},
			{"drops", nil},
		} {
			r := a.record(t, strings.Fields(c.words)...)
			if s.fast && onFastPath() != (c.words == "drops") {
				t.Errorf("capture %s: on the fast path as if it were another", c.words)
			}
			tenant.Must("ping", "-q", "-c", fmt.Sprint(echoes), "-i", "0.01", hb.Overlay4().String())
			soon(t, "the pings in capture "+c.words, func() bool {
				counts, _ := r.pings(t)
				for _, w := range c.want {
					if counts[w] != echoes {
						return false
					}
				}
				return len(counts) == len(c.want)
			})
			if said := r.interrupt(t); !regexp.MustCompile(`^\d+ frames? captured, 0 lost\n$`).MatchString(said) {
				t.Errorf("capture %s said %q", c.words, said)
			}
			if s.fast {
				soon(t, "back on the fast path", onFastPath)
			}
			if tcpdump, err := exec.LookPath("tcpdump"); err == nil {
				out, err := exec.Command(tcpdump, "-enr", r.path, "icmp").Output()
				if n := strings.Count(string(out), "ICMP echo"); err != nil || n != echoes*len(c.want) {
					t.Errorf("tcpdump reads %d echoes of capture %s: %v", n, c.words, err)
				}
			}
		}

		// TCP, and a client that is killed in the middle of it.
		r := a.record(t, "snaplen", "64")
		from, to := connect(t, tenant, hb, hb.Overlay4())
		if err := transfer(from, to, 4<<20, 1); err != nil {
			t.Error(err)
		}
		if _, largest := r.pings(t); strings.Contains(s.yaml, "offload: auto") && largest < 2000 {
			t.Errorf("the largest frame has %d bytes: no superframe", largest)
		}
		from, to = connect(t, tenant, hb, hb.Overlay4())
		moved := make(chan error, 1)
		go func() { moved <- transfer(from, to, 16<<20, 2) }()
		time.Sleep(20 * time.Millisecond)
		if err := r.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if s.fast {
			soon(t, "back on the fast path after the client was killed", onFastPath)
		}
		if err := <-moved; err != nil {
			t.Error(err)
		}
	})
}

// TestCaptureDrops: what was dropped is captured, with its reason.
func TestCaptureDrops(t *testing.T) {
	t.Parallel()
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	a.tell(t, "vni", "set", "42", "flood", "none")
	r := a.record(t, "drops", "count", "3")
	neighbour := b.host.Overlay4().Next().Next().Next().String()
	_, _ = a.host.Command("ping", "-c", "1", "-W", "1", neighbour) // asked for by broadcast, three times
	b.tell(t, "vni", "add", "43", "peer", a.host.Underlay4().String())
	b.tell(t, "port", "add", "tap43", "vni", "43") // its end speaks IPv6
	soon(t, "three drops", func() bool {
		select {
		case <-r.Done():
			return true
		default:
			return false
		}
	})
	if err := r.Wait(); err != nil || r.Output() != "3 frames captured, 0 lost\n" {
		t.Errorf("%v, said %q", err, r.Output())
	}
	data, err := os.ReadFile(r.path)
	if err != nil || !bytes.Contains(data, []byte("vni 42, dropped: flood_disabled")) {
		t.Errorf("no word of flood_disabled: %v, %q", err, data)
	}
}

// TestCaptureEnds: with vtepd, whole; and by the API alone, as curl would.
func TestCaptureEnds(t *testing.T) {
	t.Parallel()
	a, b := overlayPair(t)
	reach(t, a.host, b.host.Overlay4())
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.socket)
	}}}
	resp, err := client.Get("http://vtepd/v1/capture?vni=42&count=4")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/x-pcapng" {
		t.Errorf("content type %s", got)
	}
	reach(t, a.host, b.host.Overlay4())
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	in, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, _, err = in.ReadPacketData()
	}
	if n-1 != 4 || err != io.EOF {
		t.Errorf("%d frames, then %v", n-1, err)
	}

	var all []*recording
	for range 8 {
		all = append(all, a.record(t))
	}
	if got := a.ask(t, "capture", "count", "1"); got.code != 1 || !strings.Contains(got.stderr, "8 captures go on already: end one, or try again in a moment") {
		t.Errorf("one too many: %+v", got)
	}
	all[0].interrupt(t)
	soon(t, "room for another", func() bool {
		p, err := a.host.Start(vtepctlPath, "--socket", a.socket, "capture", "count", "1", "write", "/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		reach(t, a.host, b.host.Overlay4())
		return p.Wait() == nil
	})
	began := time.Now()
	a.stop(t, syscall.SIGTERM)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("vtepd took %v to stop with captures open", took)
	}
	for _, r := range all[1:] {
		if err := r.Wait(); err == nil || !regexp.MustCompile(`^\d+ frames captured, 0 lost\nvtepctl: vtepd at .* has stopped\n$`).MatchString(r.Output()) {
			t.Errorf("when vtepd stops: %v, %q", err, r.Output())
		}
		if counts, _ := r.pings(t); len(counts) == 0 {
			t.Error("no ping in the capture")
		}
	}
}

// TestCaptureSecondSignal: a capture into what nobody reads ends with a second signal, and two at once, as those of timeout(1), are one.
func TestCaptureSecondSignal(t *testing.T) {
	t.Parallel()
	a, _ := overlayPair(t)
	r := a.record(t)
	for range 2 {
		if err := r.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) { // the first may have done it
			t.Fatal(err)
		}
	}
	if err := r.Wait(); err != nil || !strings.Contains(r.Output(), "captured, 0 lost") {
		t.Errorf("after two signals at once: %v, %q", err, r.Output())
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := a.host.Start(vtepctlPath, "--socket", a.socket, "capture", "write", fifo)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // until it waits for a reader
	soon(t, "the second signal ends it", func() bool {
		_ = p.Signal(syscall.SIGTERM) // not SIGINT, which who was started in the background ignores again after the first
		select {
		case <-p.Done():
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}
