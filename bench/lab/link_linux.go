package lab

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"

	"vtepd/dataplane/ethtool"
)

// defaultMTU is that of Ethernet, in bytes.
const defaultMTU = 1500

// Addressing says which addresses the ends of a link get.
type Addressing int

const (
	// Underlay: Host.Underlay4 and Underlay6. One link or switch of a host can carry them.
	Underlay Addressing = iota
	// Overlay: Host.Overlay4 and Overlay6, for an overlay's figures without the overlay.
	Overlay
	// Bare: no address, and no frame that the kernel sends of its own accord: what is seen on the link was put there.
	Bare
)

// LinkOptions shape a link. The zero value is an underlay link of 1500 bytes MTU, its ends named eth0, eth1, ... on each host.
type LinkOptions struct {
	MTU          int // bytes, without the Ethernet header; 0 = 1500
	Addressing   Addressing
	NameA, NameB string // interface names; "" = the next ethN
	Queues       int    // transmit and receive queues of each end; 0 = the kernel's choice
}

// End is one end of a link: an interface on a host.
type End struct {
	Host *Host
	Name string
}

// Link is a veth pair.
type Link struct{ A, B End }

// Link joins two hosts by a veth pair, both ends up.
func (l *Lab) Link(a, b *Host, o LinkOptions) *Link {
	l.help()
	link, err := newLink(a, b, o)
	if err == nil {
		err = addressEnds(o.Addressing, link.A, link.B)
	}
	if err != nil {
		l.fatalf("link %s-%s: %w", a.name, b.name, err)
	}
	return link
}

// newLink makes the pair inside the two namespaces, so that its names never show in the caller's.
func newLink(a, b *Host, o LinkOptions) (*Link, error) {
	if o.NameA == "" {
		o.NameA = a.nextName()
	}
	if o.NameB == "" {
		o.NameB = b.nextName()
	}
	if o.MTU == 0 {
		o.MTU = defaultMTU
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = o.NameA, o.MTU
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: o.NameB, PeerNamespace: netlink.NsFd(b.ns), PeerMTU: uint32(o.MTU)}
	if o.Queues > 0 {
		veth.NumTxQueues, veth.NumRxQueues = o.Queues, o.Queues
		veth.PeerNumTxQueues, veth.PeerNumRxQueues = uint32(o.Queues), uint32(o.Queues)
	}
	if err := a.nl.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("veth %s-%s: %w", o.NameA, o.NameB, err)
	}
	return &Link{A: End{a, o.NameA}, B: End{b, o.NameB}}, nil
}

func addressEnds(how Addressing, ends ...End) error {
	for _, e := range ends {
		var err error
		switch how {
		case Underlay:
			err = e.Host.addr(e.Name, e.Host.UnderlayPrefixes())
		case Overlay:
			err = e.Host.addr(e.Name, e.Host.OverlayPrefixes())
		default:
			if err = e.Host.quiet(e.Name); err == nil {
				err = e.Host.up(e.Name)
			}
		}
		if err != nil {
			return fmt.Errorf("%s on %s: %w", e.Name, e.Host.name, err)
		}
	}
	return nil
}

// Switch is a bridge in a namespace of its own that joins hosts.
type Switch struct {
	Host  *Host   // the bridge's namespace
	Links []*Link // A is the host's end, B the bridge's, in the order of the hosts
}

// switchBridge is the name of the bridge inside its namespace.
const switchBridge = "br0"

// Switch joins any number of hosts by a bridge that floods multicast. The hosts' ends get addresses as o says.
func (l *Lab) Switch(name string, o LinkOptions, hosts ...*Host) *Switch {
	l.help()
	s := &Switch{Host: l.Host(name)}
	if err := s.Host.bridge(switchBridge, o.MTU); err != nil {
		l.fatalf("switch %s: %w", name, err)
	}
	for _, h := range hosts {
		s.join(h, o)
	}
	return s
}

func (s *Switch) join(h *Host, o LinkOptions) {
	s.Host.lab.help()
	link, err := newLink(h, s.Host, o)
	if err == nil {
		err = s.Host.enslave(switchBridge, link.B.Name)
	}
	if err == nil {
		err = addressEnds(o.Addressing, link.A)
	}
	if err != nil {
		s.Host.lab.fatalf("switch %s: %s: %w", s.Host.name, h.name, err)
	}
	s.Links = append(s.Links, link)
}

// Bridge makes a kernel bridge on the host, learning, without spanning tree, flooding multicast, and puts ports into it. The kernel sends nothing
// of its own accord on the bridge or its ports.
func (h *Host) Bridge(name string, ports ...string) {
	h.lab.help()
	err := h.bridge(name, 0)
	for i := 0; i < len(ports) && err == nil; i++ {
		err = h.enslave(name, ports[i])
	}
	if err != nil {
		h.lab.fatalf("host %s: bridge %s: %w", h.name, name, err)
	}
}

func (h *Host) bridge(name string, mtu int) error {
	snooping := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	if err := h.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return err
	}
	if err := h.quiet(name); err != nil {
		return err
	}
	return h.up(name)
}

func (h *Host) enslave(bridge, port string) error {
	master, err := h.nl.LinkByName(bridge)
	if err != nil {
		return err
	}
	link, err := h.nl.LinkByName(port)
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	if err := h.quiet(port); err != nil {
		return err
	}
	if err := h.nl.LinkSetMaster(link, master); err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	return h.nl.LinkSetUp(link)
}

// OffloadsOff makes a link a wire: no segmentation and no receive merging on either end, so that only frames of at most the MTU cross it.
// Transmit checksums stay with the "hardware", as on a network card.
func (l *Link) OffloadsOff() {
	l.A.Host.lab.help()
	for _, e := range []End{l.A, l.B} {
		e.Features(map[string]bool{
			"tx-tcp-segmentation": false, "tx-tcp-ecn-segmentation": false, "tx-tcp-mangleid-segmentation": false, "tx-tcp6-segmentation": false,
			"tx-udp-segmentation": false, "tx-udp_tnl-segmentation": false, "tx-udp_tnl-csum-segmentation": false,
			"tx-gso-list": false, "tx-sctp-segmentation": false, "tx-generic-segmentation": false,
			"rx-gro": false,
		})
	}
}

// ChecksumsOff has the kernel finish every checksum before a frame enters the link at either end. Across a veth pair a frame otherwise arrives with the
// checksum its sender meant for hardware to fill in, and, inside a tunnel, as one frame far above the MTU; a program that reads the frame from
// a packet or UDP socket cannot know. Links between the kernel's vxlan device and a program need it.
func (l *Link) ChecksumsOff() {
	l.A.Host.lab.help()
	for _, e := range []End{l.A, l.B} {
		e.Features(map[string]bool{"tx-checksum-ip-generic": false, "tx-udp_tnl-segmentation": false, "tx-udp_tnl-csum-segmentation": false})
	}
}

// Features switches device features of the end, by the names `ethtool -k` shows. Those that are fixed stay as they are: what matters is seen on the wire.
func (e End) Features(set map[string]bool) {
	e.Host.lab.help()
	err := e.Host.Do(func() error {
		d, err := ethtool.Open(e.Name)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.SetFeatures(set)
	})
	if err != nil {
		e.Host.lab.fatalf("host %s: features of %s: %w", e.Host.name, e.Name, err)
	}
}

// Stat reads a counter of the end from /proc, such as rx_packets; used where a packet socket would disturb what is measured.
func (e End) Stat() (*netlink.LinkStatistics, error) {
	link, err := e.Host.nl.LinkByName(e.Name)
	if err != nil {
		return nil, err
	}
	if link.Attrs().Statistics == nil {
		return nil, fmt.Errorf("%s: %w: no statistics", e.Name, os.ErrNotExist)
	}
	return link.Attrs().Statistics, nil
}
