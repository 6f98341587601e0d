package dataplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/underlay"
	"vtepd/encap"
)

// Evidence says how it was found out what a path carries.
type Evidence string

const (
	// EvidenceProbe: datagrams of the VXLAN port itself were answered by the other vtepd.
	EvidenceProbe Evidence = "probe"
	// EvidenceEcho: ICMP echo requests to the peer's underlay address were answered by its kernel.
	EvidenceEcho Evidence = "icmp-echo"
	// EvidenceNone: nothing answered, whatever the size.
	EvidenceNone Evidence = "none"
)

// PathProbe is what probing a path to a peer found. Sizes are bytes; those of the underlay have the outer IP header in them.
type PathProbe struct {
	Peer netip.AddrPort
	// VNI that probes were sent in; 0: none is shared with the peer.
	VNI uint32
	// Evidence for Fits.
	Evidence Evidence
	// Fits is the largest packet that arrived.
	Fits int
	// Tried is the largest that was sent: what routes and interfaces carry.
	Tried int
	// Known is what was believed of the path before, Learned after: routers may have spoken up.
	Known, Learned int
	// Inside is Fits less the overhead.
	Inside int
	// Ports whose packets to the peer may be larger than Inside, by name.
	Ports map[string]PortMTU
	// Clamped says that TCP connections in VNIs with the peer are opened with an MSS that fits the path as it is believed to be.
	Clamped bool
	// Into names the port of this switch that the route to the peer leads into; nothing is sent then. Refused: the peer's host said that nobody listens.
	Into    string
	Refused bool
	// NoRoute says why nothing gets there, or back, and nothing is sent then; empty: it may. Away: the own address is on no interface.
	NoRoute string
	Away    bool
	// Unsent is why this host's kernel did not take even a small datagram for the peer; nil: it did, or none was sent.
	Unsent error
	// WithoutEcho says why there was no ICMP echo; empty when there was.
	WithoutEcho string
}

// PortMTU is the MTU of a port, in bytes. It follows the underlay where none was asked for, unless its interface was there before, which keeps its own.
type PortMTU struct {
	MTU     int
	Follows bool
}

// Bounds of probing: it is a few dozen packets, and a few seconds where answers are lost.
const (
	probeSmall   = 128 // bytes: what goes through anywhere
	probeTries   = 2
	probeDoubts  = 3 // times that a size which got no answer turns out to arrive after all
	probeWaitMax = 500 * time.Millisecond
	probeWaitMin = 60 * time.Millisecond
	maxProbes    = 64 // answers that wait to be looked at
	maxDoctors   = 16 // paths probed at the same time
)

// ProbePath finds out by sending what the path to a peer carries, both with datagrams of VXLAN that another vtepd answers and with ICMP echo. Nothing
// is changed, but that the kernel may learn the path's MTU from routers on the way.
func (s *Switch) ProbePath(ctx context.Context, a netip.Addr) (PathProbe, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return PathProbe{}, ErrClosed
	}
	p, d := s.probeTarget(a)
	s.mu.Unlock()
	if p == nil {
		return PathProbe{}, fmt.Errorf("peer %s: %w", a, ErrNotFound)
	}
	if s.doctors.Add(1) > maxDoctors {
		s.doctors.Add(-1)
		return PathProbe{}, fmt.Errorf("%d paths are being probed already: %w", maxDoctors, ErrBusyNow)
	}
	defer s.doctors.Add(-1)
	local := s.config.localOf(p.family)
	out := PathProbe{Peer: p.addr, Evidence: EvidenceNone}
	s.paths.refresh([]*peer{p})
	out.Known, out.Tried, _ = s.paths.describe(p)
	out.NoRoute = s.paths.whyNone(p)
	if why := s.paths.away(p.family); why != "" {
		out.NoRoute, out.Away = why, true
	}
	if out.Into = s.leadsInside(p); out.Tried == 0 || out.NoRoute != "" || out.Into != "" {
		return out, nil // nothing can be sent
	}
	var prober *underlay.Prober
	if err := s.atHome(func() (err error) {
		prober, err = underlay.NewProber(s.config.VRF, local, p.withLink())
		return err
	}); errors.Is(err, unix.EADDRNOTAVAIL) { // gone this moment
		out.NoRoute, out.Away = awayText(s.config.VRF, local, ""), true
		return out, nil
	} else if err != nil {
		return PathProbe{}, err
	}
	defer prober.Close()
	out.WithoutEcho = prober.WhyNoEcho
	examine := &examination{s: s, peer: p, domain: d, prober: prober, wait: probeWaitMax}
	if d != nil {
		out.VNI = d.vni
		if n := examine.largest(ctx, examine.probe, out.Tried); n > 0 {
			out.Evidence, out.Fits = EvidenceProbe, n
		} else {
			out.Unsent = examine.unsent
		}
	}
	if out.Evidence == EvidenceNone && prober.WhyNoEcho == "" {
		examine.wait = probeWaitMax
		if n := examine.largest(ctx, examine.echo, out.Tried); n > 0 {
			out.Evidence, out.Fits = EvidenceEcho, n
		}
	}
	s.pathsChanged(s.paths.refresh([]*peer{p}))
	out.Learned, _, _ = s.paths.describe(p)
	out.Refused = prober.Refused()
	if out.Fits > 0 {
		out.Inside = max(out.Fits-overheads[p.family], 0)
		s.mu.Lock()
		out.Ports, out.Clamped = s.portsAbove(p, out.Inside)
		s.mu.Unlock()
	}
	return out, ctx.Err()
}

// probeTarget finds the peer of an address, and a VNI that it is on the flood list of. Needs mu.
func (s *Switch) probeTarget(a netip.Addr) (found *peer, d *domain) {
	for _, p := range s.usedPeers() {
		if !p.group && p.addr.Addr() == a && (found == nil || p.addr.Port() == s.config.DstPort) {
			found = p
		}
	}
	if found == nil {
		return nil, nil
	}
	for _, vni := range slices.Sorted(maps.Keys(s.vnis)) {
		if slices.Contains(s.vnis[vni].flood, found) {
			return found, s.current.Load().vnis.get(vni)
		}
	}
	return found, nil
}

// portsAbove lists the ports of a peer's VNIs that take larger packets than fit inside, and says whether all those VNIs lower the MSS by the path. Needs mu.
func (s *Switch) portsAbove(p *peer, inside int) (ports map[string]PortMTU, clamped bool) {
	ports, clamped = make(map[string]PortMTU), true
	for vni, r := range s.vnis {
		if !slices.Contains(r.flood, p) {
			continue
		}
		clamped = clamped && r.config.MSSClamp != MSSOff
		for name, port := range s.ports {
			if _, ok := port.published.tagFor(vni); ok && port.published.link != nil && port.published.link.mtu > inside {
				ports[name] = PortMTU{MTU: port.published.link.mtu, Follows: port.published.config.Type != PortNetdev}
			}
		}
	}
	return ports, clamped
}

// examination is one path being probed.
type examination struct {
	s      *Switch
	peer   *peer
	domain *domain
	prober *underlay.Prober
	wait   time.Duration // for an answer
	unsent error         // of the last datagram
}

// largest finds the size of the largest packet that send gets an answer to, up to most; 0 when not even a small one does.
func (x *examination) largest(ctx context.Context, send func(context.Context, int) bool, most int) int {
	start := time.Now()
	if !x.tries(ctx, send, probeSmall) {
		return 0
	}
	x.wait = min(max(4*time.Since(start), probeWaitMin), probeWaitMax)
	if x.tries(ctx, send, most) {
		return most
	}
	fits, not := probeSmall, most
	for doubts := 0; ; doubts++ {
		for not-fits > 1 && ctx.Err() == nil {
			if n := (fits + not) / 2; x.tries(ctx, send, n) {
				fits = n
			} else {
				not = n
			}
		}
		// Answers are lost for other reasons than a size, and late where a host is busy: what everything hangs by is asked for once more, with patience.
		x.wait = probeWaitMax
		if doubts == probeDoubts || !x.tries(ctx, send, not) {
			return fits
		}
		if fits = not; fits == most {
			return most
		}
		not = most
	}
}

func (x *examination) tries(ctx context.Context, send func(context.Context, int) bool, size int) bool {
	for range probeTries {
		if ctx.Err() == nil && send(ctx, size) {
			return true
		}
	}
	return false
}

// echo asks the peer's kernel.
func (x *examination) echo(_ context.Context, size int) bool {
	ok, err := x.prober.Echo(size, x.wait)
	return ok && err == nil
}

// probe asks the peer's vtepd.
func (x *examination) probe(ctx context.Context, size int) bool {
	b := make([]byte, x.prober.UDPPayload(size))
	x.domain.header.Put(b)
	length := len(b) - encap.VXLANLen
	id := rand.Uint64()
	encap.Probe(b[encap.VXLANLen:]).Encode(encap.ProbeQuestion, x.s.probeSource, id, uint32(length))
	answer := make(chan uint32, 1)
	x.s.asked.Store(id, answer)
	defer x.s.asked.Delete(id)
	if x.unsent = x.prober.SendUDP(b); errors.Is(x.unsent, unix.ECONNREFUSED) { // of one before: it was sent
		x.unsent = nil
	}
	if x.unsent != nil {
		return false
	}
	select {
	case n := <-answer:
		return int(n) == length
	case <-time.After(x.wait):
	case <-ctx.Done():
	}
	return false
}

// takeAnswers gives the answers to probes to those who asked.
func (s *Switch) takeAnswers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.probes:
			if c, ok := s.asked.Load(a.id); ok {
				select {
				case c.(chan uint32) <- a.length:
				default:
				}
			}
		}
	}
}
