package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vtepd/bench/lab"
)

const (
	// benchVNI is the segment every overlay under test carries.
	benchVNI = 42
	// underlayMTU is that of the veth pair between the hosts, in bytes.
	underlayMTU = 1500
	// overlayMTU is what is left inside VXLAN over IPv4 (RFC 7348 section 5: 50 bytes of headers).
	overlayMTU = underlayMTU - 50
	// readyTimeout bounds the wait for an overlay's first answer.
	readyTimeout = 15 * time.Second
)

// ErrUnavailable wraps the reason why a system cannot be measured here.
var ErrUnavailable = errors.New("not measured")

// Site is one place where a workload runs: a namespace, and the address it has on the network under test.
type Site struct {
	Host *lab.Host
	Addr netip.Addr
	// Switch is the namespace of the switch when the workload is in another one; nil otherwise.
	Switch *lab.Host
	// Vtepd carries the traffic of the site; nil when something else does.
	Vtepd *Daemon
}

// alive says what has become of a vtepd that ended. Its fast path goes on without it, so that figures alone do not tell.
func (s Site) alive() error {
	if s.Vtepd == nil {
		return nil
	}
	select {
	case <-s.Vtepd.Done():
		why := cmp.Or(s.Vtepd.Wait(), errors.New("exit status 0"))
		return fmt.Errorf("%w: ended while it was measured: %s: %w", errVtepd, strings.TrimSpace(s.Vtepd.Output()), why)
	default:
		return nil
	}
}

// hosts are the namespaces of the site.
func (s Site) hosts() []*lab.Host {
	if s.Switch == nil {
		return []*lab.Host{s.Host}
	}
	return []*lab.Host{s.Host, s.Switch}
}

// System is one thing to measure.
type System struct {
	Name  string // for -only, and a stable word in the history
	Title string
	Short string // for the chart
	Own   bool   // vtepd
	Local bool   // two ports of one host instead of two hosts: LocalTP is its only figure
	// Against is the system that ratios are taken to, its own name or "" for none.
	Against string
	// Note is a sentence for the report on what is not as the titles of the tables say; "" when all is.
	Note string
	// Groups are words for -only that take several systems.
	Groups []string
	// Available says why the system cannot run here; nil when it can.
	Available func() error
	// Build sets the system up in an empty lab, and returns the sites that traffic runs between.
	Build func(l *lab.Lab, mode Mode) (a, b Site, err error)
}

// Programs are the paths of what is measured.
type Programs struct{ Vtepd, Vtepctl string }

// The groups of systems.
const (
	groupUser = "userspace"
	groupFast = "fastpath"
)

// Systems are all systems in the order of the tables, which is also that of their turns: what is compared stands together.
func Systems(p Programs) []System {
	always := func() error { return nil }
	ovs := func() error {
		if err := lab.OVSInstalled(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil
	}
	user, fast, both := []string{groupUser}, []string{groupFast}, []string{groupUser, groupFast}
	return []System{
		{Name: "vtepd", Title: "vtepd, TAP ports, fastpath off", Short: "TAP", Own: true, Against: Baseline, Groups: user,
			Available: p.canRun(tapPort, fastOff), Build: p.buildTAP(fastOff)},
		{Name: "vtepd-veth", Title: "vtepd, veth ports, fastpath off", Short: "veth", Own: true, Against: Baseline, Groups: user,
			Available: p.canRun(vethPort, fastOff), Build: p.buildVeth(fastOff)},
		{Name: Baseline, Title: "kernel vxlan + bridge + veth", Short: "kernel, bridge", Groups: both, Available: always, Build: buildKernelBridge},
		{Name: "vtepd-veth-fast", Title: "vtepd, veth ports, fastpath on", Short: "veth, fastpath", Own: true, Against: Baseline, Groups: fast,
			Available: p.canRun(vethPort, fastOn), Build: p.buildVeth(fastOn)},
		{Name: HostBaseline, Title: "kernel vxlan device, workload in the host namespace", Short: "kernel, device", Against: Baseline, Groups: fast,
			Available: always, Build: buildKernelHost},
		{Name: "vtepd-fast", Title: "vtepd, TAP in the host namespace, fastpath on", Short: "TAP, fastpath", Own: true, Against: HostBaseline, Groups: fast,
			Available: p.canRun(tapPort, fastOn), Build: p.buildTAP(fastOn)},
		{Name: "ovs", Title: "Open vSwitch, userspace datapath", Short: "Open vSwitch", Against: Baseline, Available: ovs, Build: buildOVS,
			Note: "Open vSwitch has an underlay without offloads in every table, as in wire mode and its checksums finished too: its userspace datapath takes no superframes."},
		{Name: "bare", Title: "bare veth, no overlay", Short: "bare veth", Against: Baseline, Available: always, Build: buildBare},
		{Name: "vtepd-local", Title: "vtepd, two TAPs, fastpath off", Own: true, Local: true, Against: LocalBaseline, Groups: user,
			Available: p.canRun(tapPort, fastOff), Build: p.buildLocalTAP},
		{Name: "vtepd-local-fast", Title: "vtepd, two veth ports, fastpath on", Own: true, Local: true, Against: LocalBaseline, Groups: fast,
			Available: p.canRun(vethPort, fastOn), Build: p.buildLocalVeth},
		{Name: LocalBaseline, Title: "kernel bridge + veth", Local: true, Groups: both, Available: always, Build: buildLocalBridge},
	}
}

// The systems that ratios are taken to.
const (
	Baseline      = "kernel"
	HostBaseline  = "kernel-host"
	LocalBaseline = "kernel-local"
)

// underlay makes two hosts and the link between them.
func underlay(l *lab.Lab, mode Mode) (a, b *lab.Host, link *lab.Link) {
	a, b = l.Host("a"), l.Host("b")
	link = l.Link(a, b, lab.LinkOptions{MTU: underlayMTU})
	if mode != Veth {
		link.OffloadsOff()
	}
	if mode == WireGRO {
		for _, end := range []lab.End{link.A, link.B} {
			end.Features(map[string]bool{"rx-gro": true})
		}
	}
	return a, b, link
}

func sites(a, b *lab.Host) (Site, Site, error) {
	return Site{Host: a, Addr: a.Overlay4()}, Site{Host: b, Addr: b.Overlay4()}, nil
}

// buildBare has no overlay: what the machine and the veth pair give.
func buildBare(l *lab.Lab, mode Mode) (Site, Site, error) {
	a, b, _ := underlay(l, mode)
	return Site{Host: a, Addr: a.Underlay4()}, Site{Host: b, Addr: b.Underlay4()}, nil
}

// buildKernelHost gives the overlay address to the vxlan device itself.
func buildKernelHost(l *lab.Lab, mode Mode) (Site, Site, error) {
	a, b, _ := underlay(l, mode)
	for _, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		device := here.VXLAN(lab.VXLANOptions{VNI: benchVNI, Local: here.Underlay4(), Peers: []netip.Addr{there.Underlay4()}, MTU: overlayMTU})
		here.Addr(device, here.OverlayPrefixes()...)
	}
	return sites(a, b)
}

// buildKernelBridge is how hosts with containers do it: vxlan device and veth ports in a bridge, the workload in a namespace of its own.
func buildKernelBridge(l *lab.Lab, mode Mode) (Site, Site, error) {
	a, b, _ := underlay(l, mode)
	var ends [2]Site
	for i, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		device := here.VXLAN(lab.VXLANOptions{VNI: benchVNI, Local: here.Underlay4(), Peers: []netip.Addr{there.Underlay4()}, MTU: overlayMTU})
		w := l.Workload(here, "w"+strconv.Itoa(i), "port0", overlayMTU)
		ends[i] = Site{Host: w, Addr: w.Overlay4(), Switch: here}
		here.Bridge("br0", device, "port0")
	}
	return ends[0], ends[1], nil
}

// buildOVS lets Open vSwitch do in user space what vtepd does; the workload uses the internal port of its bridge.
func buildOVS(l *lab.Lab, mode Mode) (Site, Site, error) {
	a, b, link := underlay(l, mode)
	// Its packet sockets send what they are given; a checksum left to hardware, or a superframe, would leave as it is.
	link.ChecksumsOff()
	link.OffloadsOff()
	for _, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		workload := here.OVS().VXLAN("eth0", benchVNI, there.Underlay4())
		here.MTU(workload, overlayMTU)
		here.Addr(workload, here.OverlayPrefixes()...)
	}
	return sites(a, b)
}

// buildLocalBridge is two workloads of one host, joined by the kernel.
func buildLocalBridge(l *lab.Lab, _ Mode) (Site, Site, error) {
	h := l.Host("h")
	a, b := l.Workload(h, "a", "port0", underlayMTU), l.Workload(h, "b", "port1", underlayMTU)
	h.Bridge("br0", "port0", "port1")
	return sites(a, b)
}

// WaitReady waits until b answers a over the network under test.
func WaitReady(a, b Site) error {
	var listener net.Listener
	err := b.Host.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(b.Addr, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	return a.Host.Do(func() error {
		for end := time.Now().Add(readyTimeout); ; {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
			cancel()
			if err == nil {
				return conn.Close()
			}
			if time.Now().After(end) {
				return fmt.Errorf("no answer over the overlay within %v: %w", readyTimeout, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}
