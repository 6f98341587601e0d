package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// TestMain lets the test binary be both ends of a Dialogue.
func TestMain(m *testing.M) {
	if IsService(os.Args[1:]) {
		if err := Serve(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSystemsCarryTraffic builds every system that needs no vtepd and passes a little of each load through it.
func TestSystemsCarryTraffic(t *testing.T) {
	lab.NeedRoot(t)
	for _, s := range Systems(Programs{Vtepd: "/nonexistent/vtepd"}) {
		if s.Own {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if err := s.Available(); err != nil {
				t.Skip(err)
			}
			l := lab.New(t)
			a, b, err := s.Build(l, WireGRO)
			if err != nil {
				t.Fatal(err)
			}
			if err := WaitReady(a, b); err != nil {
				t.Fatal(err)
			}
			for _, mixed := range []bool{false, true} {
				load, err := UDPLoad(a, b, 100*time.Millisecond, mixed)
				if err != nil || load.ReceivedPPS <= 0 || load.ReceivedPPS > load.SentPPS {
					t.Errorf("mixed %v: load %+v, error %v", mixed, load, err)
				}
			}
			micros, lost, err := RoundTrips(a, b, 200*time.Millisecond)
			if err != nil || len(micros) == 0 || lost > 1 || micros[0] <= 0 || micros[0] > micros[len(micros)-1] {
				t.Errorf("round trips: %d answered, %d lost, error %v", len(micros), lost, err)
			}
			for _, g := range []Dialogue{{"udp", 1, Anywhere}, {"udp", 1, Together}, {"udp", 1, Apart}, {"udp", 16, Anywhere}, {"tcp", 1, Anywhere}, {"tcp", 16, Anywhere}, {connectRequest, 1, Anywhere}, {connectRequest, 16, Anywhere}} {
				if g.Place == Apart && runtime.NumCPU() < 2 {
					continue
				}
				got, err := g.Ask(a, b, 200*time.Millisecond)
				if err != nil || got.Answered == 0 || got.Lost > 1 || got.P50 <= 0 || got.P50 > got.P99 || got.PerSecond <= 0 || got.PerSecond > float64(got.Answered)/0.2 {
					t.Errorf("%+v: %+v, error %v", g, got, err)
				}
			}
		})
	}
}

func TestRunMeasuresAndSaysWhatIsMissing(t *testing.T) {
	lab.NeedRoot(t)
	if err := Install(t.Output(), IPerf3); err != nil {
		t.Skip(err)
	}
	systems := Systems(Programs{Vtepd: "/nonexistent/vtepd"})
	plan := Plan{Modes: []Mode{Wire}, Metrics: []Metric{TCP1, CPU, CRR, CRRs}, Rounds: 1, Times: TimesFor(time.Second), Log: t.Output()}
	for _, s := range systems {
		if s.Name == "vtepd" || s.Name == Baseline {
			plan.Systems = append(plan.Systems, s)
		}
	}
	r := plan.Run(context.Background())
	for _, m := range plan.Metrics {
		if v := r.Values[Cell{Baseline, Wire, m}]; len(v) != 1 || v[0] < 0.01 {
			t.Errorf("%s of the kernel: %v", m, v)
		}
	}
	if why := r.Missing["vtepd"]; !strings.Contains(why, "make build") || len(r.Missing) != 1 {
		t.Errorf("missing: %v", r.Missing)
	}
}

// TestConnectionsAreWhole: what is counted has been opened, answered, and closed by both ends, one after another.
func TestConnectionsAreWhole(t *testing.T) {
	lab.NeedRoot(t)
	h := lab.New(t).Host("h")
	for _, c := range []struct {
		name   string
		answer func(conn net.Conn, request []byte) // and then it closes
		says   string
	}{
		{"echo", func(conn net.Conn, request []byte) {
			_, _ = conn.Write(request)
			if n, err := conn.Read(request); n != 0 || err != io.EOF {
				t.Errorf("after the answer %d bytes, error %v; want the end", n, err)
			}
		}, ""},
		{"another answer", func(conn net.Conn, request []byte) { _, _ = conn.Write(make([]byte, loadPayload)) }, "connection 1: answer: it is another request's"},
		{"half an answer", func(conn net.Conn, request []byte) { _, _ = conn.Write(request[:loadPayload/2]) }, "connection 1: answer: unexpected EOF"},
		{"too much", func(conn net.Conn, request []byte) { _, _ = conn.Write(append(request, 0)) }, "connection 1: close: 1 bytes after the answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := h.Do(func() error {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				served := make(chan int)
				go func() {
					n := 0
					for ; ; n++ {
						conn, err := listener.Accept()
						if err != nil {
							served <- n
							return
						}
						request := make([]byte, loadPayload)
						if _, err := io.ReadFull(conn, request); err == nil {
							c.answer(conn, request)
						}
						conn.Close()
					}
				}()
				micros, err := connections(listener.Addr().String(), time.Now().Add(50*time.Millisecond))
				listener.Close()
				if n := <-served; c.says == "" && (n != len(micros) || n == 0) {
					t.Errorf("%d connections counted, %d served", len(micros), n)
				}
				return err
			})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
}

// TestConnectionsDoNotRunOutOfPorts: ports are taken again while the former connection's is still remembered.
func TestConnectionsDoNotRunOutOfPorts(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, lab.LinkOptions{})
	to := Site{Host: b, Addr: b.Underlay4()}
	if err := reusePorts(a); err != nil {
		t.Fatal(err)
	}
	// So few that they are used up at once.
	if err := a.Sysctl("net/ipv4/ip_local_port_range", "10000 10019"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, echo, err := startEcho(self, to)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	err = a.Do(func() error {
		request, answer := make([]byte, loadPayload), make([]byte, loadPayload)
		usedUp := false
		for end := time.Now().Add(20 * time.Second); made < 60 && time.Now().Before(end); {
			err := connection(echo.String(), time.Now().Add(streamTimeout), request, answer)
			switch {
			case errors.Is(err, unix.EADDRNOTAVAIL):
				usedUp = true
				time.Sleep(50 * time.Millisecond)
			case err != nil:
				return err
			default:
				made++
			}
		}
		if !usedUp {
			t.Error("the ports were never used up: this test proves nothing")
		}
		return nil
	})
	if err != nil || made < 60 {
		t.Errorf("%d connections from 20 ports, error %v", made, err)
	}
}

func TestCongestionControlOfTheWorkloads(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.New(t)
	a, b, err := sites(l.Host("a"), l.Host("b"))
	if err != nil {
		t.Fatal(err)
	}
	control := func(s Site) (name string) {
		_ = s.Host.Do(func() error {
			name = ThisMachine().Congestion
			return nil
		})
		return name
	}
	before := control(a)
	if err := (Plan{}).congest(a, b); err != nil || control(a) != before || before == "" {
		t.Errorf("left to the machine: %q, error %v; before %q", control(a), err, before)
	}
	if err := (Plan{Congestion: "reno"}).congest(a, b); err != nil || control(a) != "reno" || control(b) != "reno" {
		t.Errorf("reno: %q and %q, error %v", control(a), control(b), err)
	}
	if err := (Plan{Congestion: "nosuch"}).congest(a, b); err == nil || !strings.Contains(err.Error(), `"nosuch"`) || control(a) != "reno" {
		t.Errorf("one that there is not: %q, error %v", control(a), err)
	}
}

// Which congestion controls other namespaces may have by default differs by machine: the kernel's two answers stand for it.
func TestCongestionErrorNamesTheCause(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.EPERM, "tcp_allowed_congestion_control"},
		{unix.ENOENT, "tcp_available_congestion_control"},
	} {
		err := congestionError("cubic", &os.PathError{Op: "write", Path: "/proc/sys/" + congestionKey, Err: c.err})
		if !strings.Contains(err.Error(), `"cubic"`) || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
