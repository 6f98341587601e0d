package dataplane

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
	"vtepd/dataplane/xdp"
	"vtepd/encap"
)

// What is on the fast path, and why not the rest. A feature that the programs do not know adds a line here, and the traffic concerned, and only that,
// passes user space.

// rule takes something off the fast path: its text says why, and is empty where the rule does not apply.
type rule[T any] func(c T) string

// firstReason is that of the first rule that applies.
func firstReason[T any](c T, rules []rule[T]) string {
	for _, r := range rules {
		if why := r(c); why != "" {
			return why
		}
	}
	return ""
}

// allReasons joins those of all rules that apply.
func allReasons[T any](c T, rules []rule[T]) string {
	var all []string
	for _, r := range rules {
		if why := r(c); why != "" {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ")
}

// portCase is a port to be judged.
type portCase struct {
	p    *port
	attr device.Attr
	m    *mirror
}

var portRules = []rule[*portCase]{
	func(c *portCase) string {
		if c.m.captures.ofPort(c.p.config.Name) {
			return captured
		}
		return ""
	},
	func(c *portCase) string {
		switch {
		case c.p.config.Type != PortTAP || !c.attr.Away:
			return ""
		case c.attr.NetNS != "":
			return "its TAP lives in namespace " + c.attr.NetNS + ", where the programs cannot reach it: use type veth"
		}
		return "its TAP lives in another namespace, where the programs cannot reach it: use type veth"
	},
	func(c *portCase) string {
		if !c.attr.Up {
			return "its interface is down"
		}
		return ""
	},
	func(c *portCase) string {
		if c.p.config.Type == PortTAP && c.attr.XDP {
			return "an XDP program is on its TAP, which would not see what the programs put there"
		}
		return ""
	},
	func(c *portCase) string {
		if c.m.underlays[c.attr.Ifindex] != nil {
			return "its interface is part of the underlay"
		}
		return ""
	},
	func(c *portCase) string {
		// The kernel refuses to wrap up longer ones that are no superframes (BPF_SKB_MAX_LEN), and what is shorter of the same connections would overtake them.
		if most := min(longestBuffer(), math.MaxUint16); c.p.maxFrame+overheads[1] > most {
			return fmt.Sprintf("its frames may have %d bytes, and the kernel wraps up none that have more than %d with their new headers", c.p.maxFrame, most)
		}
		return ""
	},
	func(c *portCase) string {
		// The programs cannot carry them, and would carry what is smaller of the same connections past them.
		if l := c.p.link; slices.ContainsFunc(l.packets, (*netdev.Queue).Big) {
			return "superframes of more than 64 KiB came from it, which user space divides: where its other end has a gso_max_size of 65536, add it again"
		}
		return ""
	},
}

// longestBuffer is how many bytes the kernel lets programs make of a packet, SKB_MAX_ALLOC, less what is certainly enough for its struct skb_shared_info.
func longestBuffer() int { return 4*os.Getpagesize() - 512 }

// portOnFastPath says how the maps describe a port and where its program goes, or why it has to stay off.
func (m *mirror) portOnFastPath(p *port) (put xdp.Port, hook xdp.Hook, reason string) {
	if p.link == nil {
		return put, hook, "its interface is missing"
	}
	if m.held {
		return put, hook, "what a former process attached is taken over first"
	}
	c := portCase{p: p, m: m}
	var err error
	if c.attr, err = p.link.dev.Attr(); err != nil {
		return put, hook, err.Error()
	}
	if reason = firstReason(&c, portRules); reason != "" {
		return put, hook, reason
	}
	kind, hook := xdp.TAP, xdp.Egress // what the stack sends into a TAP of our own namespace is what its workload sends
	switch p.config.Type {
	case PortVeth:
		kind, hook = xdp.Netdev, xdp.Ingress
		if p.config.NetNS != "" {
			kind = xdp.Veth
		}
	case PortNetdev:
		kind, hook = xdp.Netdev, xdp.Ingress
		if c.attr.Whole { // without the short way, which passes by what somebody else may have put there: queueing disciplines, filters
			kind = xdp.Veth
		}
	}
	put = xdp.Port{
		Index:     p.index,
		Ifindex:   c.attr.Ifindex,
		Kind:      kind,
		MaxFrame:  p.maxFrame,
		Untagged:  p.untagged,
		NativeVID: p.nativeVID,
		Isolated:  p.isolated,
	}
	for vni, vid := range p.tags {
		put.Tagged = append(put.Tagged, xdp.VIDMap{VID: vid, VNI: vni})
	}
	slices.SortFunc(put.Tagged, func(a, b xdp.VIDMap) int { return int(a.VID) - int(b.VID) })
	if c.p.config.Type == PortVeth && kind == xdp.Veth && !c.attr.XDP { // the short way to the workload passes its driver by
		copy(put.PeerMAC[:], c.attr.MAC)
	}
	// The mirror filters them before the maps know the port, and for as long.
	_, put.Filtered = p.link.dev.(filteredDevice)
	return put, hook, ""
}

// filteredDevice is a port's device that is read by packet sockets, which see a frame before the program does.
type filteredDevice interface {
	SetFilter(progFD int) error
	SetSink(on bool) error
	LendSink() int
	InheritSink(tcx int) error
	Shut() bool
}

// filterPort gives the packet sockets of a port only what its program leaves to them. The program keeps from the host's stack what the sink did.
func (m *mirror) filterPort(mp *mirroredPort) error {
	dev, ok := mp.p.link.dev.(filteredDevice)
	if !ok {
		return nil
	}
	if err := dev.SetFilter(m.e.SocketFilter()); err != nil {
		return err
	}
	return dev.SetSink(false)
}

// domainCase is a VNI to be judged.
type domainCase struct {
	d *domain
	s *Switch
}

// domainRules take all traffic of a VNI off the fast path.
var domainRules = []rule[*domainCase]{
	func(c *domainCase) string {
		if c.s.captures.active.Load().ofVNI(c.d.vni) {
			return captured
		}
		return ""
	},
	func(c *domainCase) string {
		if c.d.gbp {
			return "gbp: groups are carried and judged in user space"
		}
		return ""
	},
	func(c *domainCase) string {
		if c.d.gpe {
			return "gpe: its headers are written and judged in user space"
		}
		return ""
	},
}

// encapRules take the frames toward peers off it, and leave those from peers and between ports.
var encapRules = []rule[*domainCase]{
	func(c *domainCase) string {
		if c.s.config.localOf(0).IsValid() && c.d.config.Header.UDPChecksum == ChecksumOn {
			return "udp-checksum on: frames to IPv4 peers pass user space"
		}
		return ""
	},
	func(c *domainCase) string {
		if c.s.config.localOf(1).IsValid() && !c.d.config.Header.UDP6ZeroChecksumTx {
			return "udp6-zero-checksum does not say tx: frames to IPv6 peers pass user space"
		}
		return ""
	},
}

// decapRules take frames from peers off it, in part.
var decapRules = []rule[*domainCase]{
	func(c *domainCase) string {
		if len(c.s.config.Ports()) > 1 && (c.d.policy == Learn || len(c.d.allow) > 0) {
			return "several listen ports: frames from peers that are not named pass user space"
		}
		return ""
	},
}

// domainOnFastPath says how the maps describe a VNI, or why it has to stay off; note says what of its traffic does.
func (s *Switch) domainOnFastPath(d *domain) (put xdp.Domain, reason, note string) {
	c := &domainCase{d, s}
	if reason = firstReason(c, domainRules); reason != "" {
		return put, reason, ""
	}
	note = allReasons(c, slices.Concat(encapRules, decapRules))
	h := &d.config.Header
	return xdp.Domain{
		VNI:             d.vni,
		Learning:        d.learning,
		Strict:          d.strictBits,
		ZeroChecksumTx:  h.UDPChecksum != ChecksumOn,
		ZeroChecksum6Tx: h.UDP6ZeroChecksumTx,
		ZeroChecksum6Rx: s.config.UDP6ZeroChecksumRx,
		InheritTTL:      d.inheritTTL,
		InheritDSCP:     d.inheritDSCP,
		ECNLinux:        d.ecn == encap.ECNLinux,
		SpoofGuard:      d.spoofGuard,
		ClampMSS:        d.clamp.on,
		ClampByPath:     d.clamp.byPath,
		MSS4:            d.clamp.least4,
		MSS6:            d.clamp.least6,
		TTL:             h.ttl(),
		TOS:             h.DSCP << 2,
	}, "", note
}

// ttl is the outer TTL where nothing is inherited.
func (h *HeaderPolicy) ttl() uint8 {
	if h.TTL == 0 {
		return DefaultTTL
	}
	return h.TTL
}
