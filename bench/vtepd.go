package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
	return d, d.start(h, program, "--config", file)
}

// StartQuick starts the program on the host by its quick-start flags, to which it adds --socket.
func StartQuick(l *lab.Lab, h *lab.Host, program string, flags ...string) (*Daemon, error) {
	dir, err := l.TempDir()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Socket: filepath.Join(dir, "vtepd.sock")}
	return d, d.start(h, program, append(slices.Clone(flags), "--socket", d.Socket)...)
}

func (d *Daemon) start(h *lab.Host, program string, args ...string) (err error) {
	if d.Process, err = h.Start(program, args...); err != nil {
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

// OverlayConfig is the file of a vtepd with one VNI, one peer and the given lines of ports.
func OverlayConfig(local, peer netip.Addr, ports ...string) string {
	return fmt.Sprintf("local: %v\nvnis:\n- {vni: %d, peers: [%v]}\nports:\n%s\n", local, benchVNI, peer, strings.Join(ports, "\n"))
}

// TAPPort is the line of a TAP port with addresses.
func TAPPort(addresses []netip.Prefix) string {
	quoted := make([]string, len(addresses))
	for i, a := range addresses {
		quoted[i] = `"` + a.String() + `"`
	}
	return fmt.Sprintf("- {name: %s, type: tap, vni: %d, addresses: [%s]}", tapName, benchVNI, strings.Join(quoted, ", "))
}

// buildTAP runs the workload on the TAP device, in the host's namespace.
func (p Programs) buildTAP(l *lab.Lab, mode Mode) (Site, Site, error) {
	a, b, _ := underlay(l, mode)
	for _, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		if _, err := StartVtepd(l, here, p.Vtepd, OverlayConfig(here.Underlay4(), there.Underlay4(), TAPPort(here.OverlayPrefixes()))); err != nil {
			return Site{}, Site{}, err
		}
	}
	return sites(a, b)
}

// localConfig is a vtepd with a purely local segment.
func localConfig(local netip.Addr, ports ...string) string {
	return fmt.Sprintf("local: %v\nvnis:\n- {vni: %d}\nports:\n%s\n", local, benchVNI, strings.Join(ports, "\n"))
}

// buildLocalTAP moves two TAP devices of one vtepd into the namespaces of two workloads.
func (p Programs) buildLocalTAP(l *lab.Lab, _ Mode) (Site, Site, error) {
	h, a, b := l.Host("h"), l.Host("wa"), l.Host("wb")
	h.Addr("lo", netip.PrefixFrom(h.Underlay4(), 32))
	if _, err := StartVtepd(l, h, p.Vtepd, localConfig(h.Underlay4(), localTAP(0, a), localTAP(1, b))); err != nil {
		return Site{}, Site{}, err
	}
	return sites(a, b)
}

// localTAP is the line of a TAP port in the namespace of a workload.
func localTAP(number int, w *lab.Host) string {
	return fmt.Sprintf("- {name: tap%d, type: tap, vni: %d, mtu: %d, netns: %s, addresses: [%v]}", number, benchVNI, underlayMTU, w.Name(), w.OverlayPrefixes()[0])
}
