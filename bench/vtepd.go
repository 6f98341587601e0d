package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vtepd/bench/lab"
	"vtepd/ctl/client"
)

var errVtepd = errors.New("vtepd")

const (
	// startTimeout bounds the wait for vtepd's control socket.
	startTimeout = 10 * time.Second
	tapName      = "vtep0"
)

// Daemon is one running vtepd.
type Daemon struct {
	*lab.Process
	Socket string // path of its control socket
	args   []string
}

// StartVtepd starts the program on the host with a configuration file in a new directory, and waits until it answers. The file gets a `socket`
// line in front of config. The directory goes with the lab.
func StartVtepd(l *lab.Lab, h *lab.Host, program, config string) (*Daemon, error) {
	dir, err := l.TempDir()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Socket: filepath.Join(dir, "vtepd.sock")}
	file := filepath.Join(dir, "vtepd.yaml")
	if err := os.WriteFile(file, []byte("socket: "+d.Socket+"\n"+config), 0o600); err != nil {
		return nil, err
	}
	d.args = []string{program, "--config", file}
	l.BeforeClose(d.end)
	return d, d.Start(h)
}

// StartQuick starts the program on the host by its quick-start flags, to which it adds --socket.
func StartQuick(l *lab.Lab, h *lab.Host, program string, flags ...string) (*Daemon, error) {
	dir, err := l.TempDir()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Socket: filepath.Join(dir, "vtepd.sock")}
	d.args = slices.Concat([]string{program}, flags, []string{"--socket", d.Socket})
	l.BeforeClose(d.end)
	return d, d.Start(h)
}

// end asks the program to end: killed, it would leave the programs of its fast path pinned, for the next one to take over.
func (d *Daemon) end() {
	if d.Process != nil {
		_ = d.Stop() // that it was killed, or failed, its test has seen
	}
}

// Start starts the program, the first time or after its end, and waits until it answers.
func (d *Daemon) Start(h *lab.Host) (err error) {
	if d.Process, err = h.Start(d.args[0], d.args[1:]...); err != nil {
		return err
	}
	// The socket is there before the ports are; an answer means that all of it stands.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := client.New(d.Socket)
	defer c.Close()
	for ctx.Err() == nil {
		if _, err := c.Status(ctx); err == nil {
			return nil
		}
		select {
		case <-d.Done():
			return fmt.Errorf("%w: ended at once (%w): %s", errVtepd, d.Wait(), strings.TrimSpace(d.Output()))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%w: no answer at its control socket within %v: %s", errVtepd, startTimeout, strings.TrimSpace(d.Output()))
}

// fastPath is a value of the key of that name.
type fastPath string

const (
	fastOff fastPath = "off"
	fastOn  fastPath = "on"
)

// OverlayConfig is the file of a vtepd with one VNI, one peer and the given lines of ports, all in user space.
func OverlayConfig(local, peer netip.Addr, ports ...string) string {
	return overlayConfig(fastOff, local, peer, ports...)
}

func overlayConfig(fast fastPath, local, peer netip.Addr, ports ...string) string {
	return fmt.Sprintf("local: %v\nfastpath: %s\nvnis:\n- {vni: %d, peers: [%v]}\nports:\n%s\n", local, fast, benchVNI, peer, strings.Join(ports, "\n"))
}

// localConfig is a vtepd with a purely local segment.
func localConfig(fast fastPath, local netip.Addr, ports ...string) string {
	return fmt.Sprintf("local: %v\nfastpath: %s\nvnis:\n- {vni: %d}\nports:\n%s\n", local, fast, benchVNI, strings.Join(ports, "\n"))
}

// TAPPort is the line of a TAP port with addresses.
func TAPPort(addresses []netip.Prefix) string {
	return fmt.Sprintf("- {name: %s, type: tap, vni: %d, addresses: [%s]}", tapName, benchVNI, quoted(addresses))
}

func quoted(addresses []netip.Prefix) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = `"` + a.String() + `"`
	}
	return strings.Join(words, ", ")
}

// localTAP is the line of a TAP port in the namespace of a workload.
func localTAP(number int, w *lab.Host) string {
	return fmt.Sprintf("- {name: tap%d, type: tap, vni: %d, mtu: %d, netns: %s, addresses: [%v]}", number, benchVNI, underlayMTU, w.Name(), w.OverlayPrefixes()[0])
}

// vethLine is the line of a veth port whose other end is the workload's eth0.
func vethLine(name, netns string, mtu int, addresses []netip.Prefix) string {
	return fmt.Sprintf("- {name: %s, type: veth, vni: %d, mtu: %d, netns: %s, ifname: eth0, addresses: [%s]}", name, benchVNI, mtu, netns, quoted(addresses))
}

// Lines of ports as an overlay has them, for canRun to try.
var (
	tapPort  = TAPPort([]netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")})
	vethPort = vethLine("port0", "w0", overlayMTU, []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")})
)

// canRun asks the program whether it knows what such a system needs.
func (p Programs) canRun(port string, fast fastPath) func() error {
	return func() error {
		if _, err := exec.LookPath(p.Vtepd); err != nil {
			return fmt.Errorf("%w: %w: run `make build`", ErrUnavailable, err)
		}
		dir, err := os.MkdirTemp("", "vtepd-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "vtepd.yaml")
		config := overlayConfig(fast, netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.AddrFrom4([4]byte{192, 0, 2, 2}), port)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return err
		}
		if out, err := exec.Command(p.Vtepd, "--config", file, "--check").CombinedOutput(); err != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			if _, why, found := strings.Cut(line, file+":"); found {
				line = why
			}
			return fmt.Errorf("%w: line %s", ErrUnavailable, line)
		}
		return nil
	}
}

// buildTAP runs the workload on the TAP device, in the host's namespace.
func (p Programs) buildTAP(fast fastPath) func(*lab.Lab, Mode) (Site, Site, error) {
	return func(l *lab.Lab, mode Mode) (Site, Site, error) {
		a, b, _ := underlay(l, mode)
		var ends [2]Site
		for i, side := range [][2]*lab.Host{{a, b}, {b, a}} {
			here, there := side[0], side[1]
			config := overlayConfig(fast, here.Underlay4(), there.Underlay4(), TAPPort(here.OverlayPrefixes()))
			daemon, err := StartVtepd(l, here, p.Vtepd, config)
			if err != nil {
				return Site{}, Site{}, err
			}
			ends[i] = Site{Host: here, Addr: here.Overlay4(), Vtepd: daemon}
		}
		return ends[0], ends[1], nil
	}
}

// buildVeth gives each workload a namespace of its own, as containers have.
func (p Programs) buildVeth(fast fastPath) func(*lab.Lab, Mode) (Site, Site, error) {
	return func(l *lab.Lab, mode Mode) (Site, Site, error) {
		a, b, _ := underlay(l, mode)
		ends, _, err := p.vethOverlay(l, fast, "", a, b)
		return ends[0], ends[1], err
	}
}

// vethOverlay joins workloads beside two hosts:
//
//	w0: eth0 ── port0 (a: vtepd) ── eth0 ┄┄ eth0 ── (b: vtepd) port0 ── eth0 :w1
//
// Both files begin with the lines in more.
func (p Programs) vethOverlay(l *lab.Lab, fast fastPath, more string, a, b *lab.Host) (ends [2]Site, daemons [2]*Daemon, err error) {
	for i, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		w := l.Host("w" + strconv.Itoa(i))
		config := more + overlayConfig(fast, here.Underlay4(), there.Underlay4(), vethLine("port0", w.Name(), overlayMTU, w.OverlayPrefixes()))
		if daemons[i], err = StartVtepd(l, here, p.Vtepd, config); err != nil {
			return ends, daemons, err
		}
		ends[i] = Site{Host: w, Addr: w.Overlay4(), Switch: here, Vtepd: daemons[i]}
	}
	return ends, daemons, nil
}

// buildLocalTAP moves two TAP devices of one vtepd into the namespaces of two workloads.
func (p Programs) buildLocalTAP(l *lab.Lab, _ Mode) (Site, Site, error) {
	return p.buildLocal(l, fastOff, localTAP)
}

// buildLocalVeth has two veth ports of one vtepd instead.
func (p Programs) buildLocalVeth(l *lab.Lab, _ Mode) (Site, Site, error) {
	return p.buildLocal(l, fastOn, func(i int, w *lab.Host) string {
		return vethLine("port"+strconv.Itoa(i), w.Name(), underlayMTU, w.OverlayPrefixes())
	})
}

func (p Programs) buildLocal(l *lab.Lab, fast fastPath, port func(int, *lab.Host) string) (Site, Site, error) {
	h, a, b := l.Host("h"), l.Host("wa"), l.Host("wb")
	h.Addr("lo", netip.PrefixFrom(h.Underlay4(), 32))
	daemon, err := StartVtepd(l, h, p.Vtepd, localConfig(fast, h.Underlay4(), port(0, a), port(1, b)))
	if err != nil {
		return Site{}, Site{}, err
	}
	return Site{Host: a, Addr: a.Overlay4(), Vtepd: daemon}, Site{Host: b, Addr: b.Overlay4(), Vtepd: daemon}, nil
}
