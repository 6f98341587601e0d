// Command demo shows vtepd at work in half a minute: two hosts in network namespaces, one vtepd on each, a ping and iperf3 through the overlay, what the
// switch learned, and the same run over the kernel's own vxlan device beside it. It leaves nothing behind. `make demo` builds and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"vtepd/bench"
	"vtepd/bench/lab"
)

// tcpTime and tripTime are how long the two measurements of each system take.
const (
	tcpTime  = 3 * time.Second
	tripTime = time.Second
)

const topology = `
  namespace a                               namespace b
  +----------------------+                 +----------------------+
  | vtep0  198.51.100.1  | . . overlay . . |  198.51.100.2  vtep0 |
  |   |     VNI 42       |                 |       VNI 42     |   |
  | vtepd                |                 |                vtepd |
  |   |                  |    veth pair    |                  |   |
  | eth0   192.0.2.1     +-----------------+   192.0.2.2     eth0 |
  +----------------------+                 +----------------------+
`

type demo struct {
	ctx            context.Context
	out            io.Writer
	vtepd, vtepctl string
	step           int
}

// figures are what one system came to.
type figures struct {
	tcp  bench.Throughput
	trip float64 // median round trip in microseconds
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{ctx: ctx, out: os.Stdout}
	flag.StringVar(&d.vtepd, "vtepd", "bin/vtepd", "vtepd to show")
	flag.StringVar(&d.vtepctl, "vtepctl", "bin/vtepctl", "vtepctl to look with")
	flag.Parse()
	if err := d.run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func (d *demo) run() error {
	if err := lab.Permitted(); err != nil {
		return fmt.Errorf("%w: run `sudo make demo`", err)
	}
	for _, program := range []string{d.vtepd, d.vtepctl} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: run `make build` first", err)
		}
	}
	if err := bench.Install(d.out, bench.IP, bench.IPerf3, bench.Ping); err != nil {
		return err
	}
	var own, kernel figures
	if err := lab.Run(func(l *lab.Lab) (err error) { own, err = d.overVtepd(l); return err }); err != nil {
		return err
	}
	if err := lab.Run(func(l *lab.Lab) (err error) { kernel, err = d.overKernel(l); return err }); err != nil {
		return err
	}
	d.say("Result (both ends on this machine, %s)", bench.ThisMachine())
	fmt.Fprintln(d.out)
	t := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "  \tvtepd\tkernel vxlan\tvtepd / kernel\t")
	row := func(name, unit string, a, b float64) {
		fmt.Fprintf(t, "  %s\t%s %s\t%s %s\t%.2f\t\n", name, bench.FormatValue(a), unit, bench.FormatValue(b), unit, a/b)
	}
	row("TCP, 1 stream", "Gb/s", own.tcp.Gbps, kernel.tcp.Gbps)
	row("CPU time a gigabyte", "s", own.tcp.CPUSeconds/own.tcp.Bytes*1e9, kernel.tcp.CPUSeconds/kernel.tcp.Bytes*1e9)
	row("round trip, median", "µs", own.trip, kernel.trip)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(d.out, "\nNamespaces, devices and processes of this demo are gone again. `make bench` measures at length.")
	return nil
}

// say announces the next step.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.step, fmt.Sprintf(format, args...))
}

// show prints a command as a person would type it, and what it answered.
func (d *demo) show(h *lab.Host, name string, args ...string) error {
	if err := d.ctx.Err(); err != nil {
		return errors.New("interrupted")
	}
	fmt.Fprintf(d.out, "   $ ip netns exec %s %s %s\n", h.Name(), name, strings.Join(args, " "))
	output, err := h.Command(name, args...)
	for line := range strings.Lines(output) {
		fmt.Fprint(d.out, "     ", line)
	}
	return err
}

func (d *demo) overVtepd(l *lab.Lab) (figures, error) {
	d.say("Two hosts, joined by a veth pair of 1500 bytes MTU, and a vtepd on each:\n%s", topology)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, lab.LinkOptions{})
	var daemons []*bench.Daemon
	for _, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		flags := []string{"--local", here.Underlay4().String(), "--vni", "42", "--peer", there.Underlay4().String(), "--tap", "vtep0"}
		for _, prefix := range here.OverlayPrefixes() {
			flags = append(flags, "--address", prefix.String())
		}
		fmt.Fprintf(d.out, "   $ ip netns exec %s %s %s\n", here.Name(), d.vtepd, strings.Join(flags, " "))
		daemon, err := bench.StartQuick(l, here, d.vtepd, flags...)
		if err != nil {
			return figures{}, err
		}
		daemons = append(daemons, daemon)
	}
	from, to := bench.Site{Host: a, Addr: a.Overlay4()}, bench.Site{Host: b, Addr: b.Overlay4()}
	if err := bench.WaitReady(from, to); err != nil {
		return figures{}, err
	}
	d.say("Ping through the overlay, IPv4 and IPv6:")
	for _, address := range []string{b.Overlay4().String(), b.Overlay6().String()} {
		if err := d.show(a, "ping", "-c", "3", "-i", "0.2", "-W", "2", address); err != nil {
			return figures{}, err
		}
	}
	d.say("What each switch has learned:")
	for i, h := range []*lab.Host{a, b} {
		if err := d.show(h, d.vtepctl, "--socket", daemons[i].Socket, "fdb", "show"); err != nil {
			return figures{}, err
		}
	}
	d.say("iperf3 through the overlay, one TCP stream for %v, then requests and responses for %v:", tcpTime, tripTime)
	f, err := d.measure(from, to)
	if err != nil {
		return f, err
	}
	d.say("Both vtepd get SIGTERM and take their devices away:")
	for _, daemon := range daemons {
		if err := daemon.Stop(); err != nil {
			return f, fmt.Errorf("vtepd: %w: %s", err, strings.TrimSpace(daemon.Output()))
		}
	}
	return f, d.show(a, "ip", "-brief", "link", "show")
}

func (d *demo) overKernel(l *lab.Lab) (figures, error) {
	d.say("The same run over the kernel's own vxlan device:")
	for _, s := range bench.Systems(bench.Programs{}) {
		if s.Name != "kernel-host" {
			continue
		}
		from, to, err := s.Build(l, bench.Veth)
		if err != nil {
			return figures{}, err
		}
		if err := bench.WaitReady(from, to); err != nil {
			return figures{}, err
		}
		return d.measure(from, to)
	}
	return figures{}, errors.New("no system kernel-host")
}

func (d *demo) measure(from, to bench.Site) (f figures, err error) {
	if d.ctx.Err() != nil {
		return f, errors.New("interrupted")
	}
	if f.tcp, err = bench.TCP(from, to, 1, tcpTime); err != nil {
		return f, err
	}
	trips, lost, err := bench.RoundTrips(from, to, tripTime)
	if err != nil {
		return f, err
	}
	f.trip = bench.Percentile(trips, 0.5)
	fmt.Fprintf(d.out, "   TCP %s Gb/s; %d round trips, median %s µs, %d lost\n", bench.FormatValue(f.tcp.Gbps), len(trips), bench.FormatValue(f.trip), lost)
	return f, nil
}
