package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// oracle is a kernel vxlan device beside the switch, which gets the same frames and datagrams. Both inherit TOS and TTL, mark ECN as Linux does, refuse
// reserved bits, keep inner tags and learn; a device that does not learn does not look at source addresses either, but leaves that to its bridge.
//
//	p0 ── switch ── eth0 ══ eth0 (host wire)      vxlan42 ── eth0 ══ eth0 (host wire2)
type oracle struct {
	*wiretap
	kernel, wire2 *lab.Host
	sniffer2      *lab.Sniffer // of wire2
	device        *lab.Sniffer // of vxlan42
	rng           *rand.Rand
	serial        uint64
}

const (
	// oracleFrames is how many random frames each direction gets.
	oracleFrames = 500
	// stations is how many MACs they come from.
	stations = 20
)

// destinations are those of frames that a table can know: not the groups.
func destinations(frames [][]byte) (list []uint64) {
	for _, f := range frames {
		if d := key(f); !encap.MulticastMAC(d) {
			list = append(list, d)
		}
	}
	return list
}

// newOracle sets the kernel's device up beside the scene, with the same remote and the same settings.
//
//	p0 ── switch {eth0} ══ {eth0} wire
//	vxlan42 of kernel {eth0} ══ {eth0} wire2
func newOracle(t *testing.T, s *scene) *oracle {
	s.set(VNIConfig{VNI: 42, Learning: true, Header: HeaderPolicy{InheritDSCP: true, InheritTTL: true, ECN: encap.ECNLinux, StrictReserved: true, KeepInnerVLAN: true, UDP6ZeroChecksumTx: s.fastPathOn()}}, s.addrs()...)
	s.configuredPort(PortConfig{Name: "p0", Untagged: 42})
	o := &oracle{wiretap: newWiretap(s), kernel: s.l.Host("kernel"), wire2: s.l.Host("wire2"), rng: rand.New(rand.NewPCG(4, 2))}
	link := s.l.Link(o.kernel, o.wire2, lab.LinkOptions{})
	link.OffloadsOff()
	silence(t, o.kernel)
	local, remote := o.ends()
	o.kernel.Must("ip", "link", "add", "vxlan42", "mtu", "1430", "type", "vxlan", "id", "42", "local", local.String(), "remote", remote.String(),
		"dstport", fmt.Sprint(DefaultPort), "dev", "eth0", "learning", "udpcsum", "tos", "inherit", "ttl", "inherit")
	o.kernel.Up("vxlan42")
	o.sniffer2, o.device = o.wire2.Sniff("eth0"), o.kernel.Sniff("vxlan42")
	return o
}

// ends are the kernel's underlay address and that of its remote.
func (o *oracle) ends() (local, remote netip.Addr) {
	if o.config.Local.Is6() {
		return o.kernel.Underlay6(), o.wire2.Underlay6()
	}
	return o.kernel.Underlay4(), o.wire2.Underlay4()
}

// frame makes a random frame with a destination of its own, by which it is known again. tagged frames have an 802.1Q tag. In a third of them up to
// three bits of the headers behind are wrong, though never IP's version and header length: with those wrong vtepd sees no IP, and Linux looks nowhere but at
// the EtherType.
func (o *oracle) frame(tagged bool) []byte {
	o.serial++
	r := o.rng
	p := encaptest.Packet{
		SrcMAC: station(r.IntN(stations)), DstMAC: 0x02ee00000000 | uint64(r.IntN(2))<<40 | o.serial,
		TOS: uint8(r.Uint32()), TTL: uint8(1 + r.IntN(255)), ID: uint16(r.Uint32()), Payload: encaptest.Payload(r.IntN(1200), r.Uint64()),
		SrcPort: uint16(1 + r.IntN(65535)), DstPort: uint16(1 + r.IntN(1000)), V6: r.IntN(2) == 0, FlowLabel: r.Uint32N(1 << 20), BadIPChecksum: r.IntN(10) == 0,
	}
	if tagged {
		p.Tags = []uint16{uint16(r.Uint32N(1<<16)&^0xfff | 1 + r.Uint32N(4094))}
	}
	switch r.IntN(8) {
	case 0:
		p.Proto = encap.ProtoTCP
	case 1:
		p.Proto, p.Type = encap.ProtoICMP, 8
		if p.V6 {
			p.Proto, p.Type = encap.ProtoICMPv6, 128
		}
	case 2:
		p.Proto, p.V6, p.Fragment = 99, false, uint16(r.IntN(100))|encap.IPv4MoreFragments
	case 3:
		p.Proto, p.V6, p.Options = encap.ProtoUDP, false, []byte{1, 1, 1, 1, 1, 1, 1, 0}
	case 4:
		p.Proto, p.V6, p.Extensions = encap.ProtoUDP, true, []encaptest.Extension{{Proto: encap.ProtoHopByHop, Body: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}
	case 5:
		p.EtherType = []uint16{encap.EtherTypeARP, 0x88b5, 0x8847, 100}[r.IntN(4)] // the last one is an 802.3 length
	default:
		p.Proto = encap.ProtoUDP
	}
	f := p.Frame()
	// The first byte of an IP header is at 14, or behind a tag at 18.
	if rest := f[min(len(f), 19):]; len(rest) > 0 && r.IntN(3) == 0 {
		for range 1 + r.IntN(3) {
			rest[r.IntN(min(len(rest), 30))] ^= 1 << r.IntN(8)
		}
	}
	return f
}

// key is the destination of a frame.
func key(frame []byte) uint64 { return encap.Ethernet(frame).Dst() }

// collect takes what a sniffer has by destination of the frame that inner finds in it.
func collect(t *testing.T, s *lab.Sniffer, inner func([]byte) ([]byte, string)) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	for empty := 0; empty < 3; {
		f, ok := s.Next(20 * time.Millisecond)
		if !ok {
			empty++
			continue
		}
		empty = 0
		if frame, about := inner(f.Data); frame != nil {
			if before, double := got[key(frame)]; double {
				t.Errorf("two frames for %012x: %s", key(frame), before)
			}
			got[key(frame)] = fmt.Sprintf("%s% x", about, frame)
		}
	}
	if lost, err := s.Lost(); lost > 0 || err != nil {
		t.Fatalf("sniffer lost %d frames: %v", lost, err)
	}
	return got
}

// inside takes an outer header off: the frame, and the fields that both ends decide on.
func inside(data []byte) ([]byte, string) {
	var l encap.Layout
	l.Parse(data)
	if l.Proto != encap.ProtoUDP || binary.BigEndian.Uint16(data[l.L4+2:]) != DefaultPort {
		return nil, ""
	}
	tos, _ := encap.TrafficClass(data, &l)
	ttl, _ := encap.HopLimit(data, &l)
	header := data[l.Payload : l.Payload+encap.VXLANLen]
	return data[int(l.Payload)+encap.VXLANLen : l.End], fmt.Sprintf("tos %#02x ttl %d header % x: ", tos, ttl, header)
}

// same compares what came of the same frames.
func (o *oracle) same(what string, sent map[uint64]string, vtepd, kernel map[uint64]string) {
	o.t.Helper()
	different := 0
	for k, description := range sent {
		if vtepd[k] == kernel[k] {
			continue
		}
		if different++; different <= 5 {
			o.t.Errorf("%s: of %s\nvtepd  made %q\nkernel made %q", what, description, vtepd[k], kernel[k])
		}
	}
	if different > 5 {
		o.t.Errorf("%s: and %d more", what, different-5)
	}
	if len(kernel) < oracleFrames/4 {
		o.t.Errorf("%s: the kernel passed on %d of %d: the oracle is silent", what, len(kernel), len(sent))
	}
}

// TestEncapsulationAsKernel gives random frames to the switch and to the kernel's vxlan device, and wants the same datagrams of both: VXLAN header, TOS, TTL, frame.
func TestEncapsulationAsKernel(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		o := newOracle(t, s)
		sent := map[uint64]string{}
		var frames [][]byte
		for range oracleFrames {
			f := o.frame(o.rng.IntN(4) == 0)
			frames = append(frames, f)
			sent[key(f)] = fmt.Sprintf("% x", f[:40])
		}
		for n := range stations {
			s.pinned(42, "p0", station(n))
		}
		s.pinned(42, "", destinations(frames)...)
		// Neighbours first: what waits for them is not the oracle's subject.
		local, remote := o.ends()
		_, _ = o.kernel.Command("ping", "-c", "1", "-W", "2", "-I", local.String(), remote.String())
		for i := 0; i < len(frames); i += 50 {
			s.Inject("p0", frames[i:i+50]...)
			o.kernel.Inject("vxlan42", frames[i:i+50]...)
			s.rest()
		}
		o.same("encapsulation", sent, collect(t, o.sniffer, inside), collect(t, o.sniffer2, inside))
		s.wantCarried(100, 0)
	})
}

// TestDecapsulationAsKernel gives random datagrams to both and wants the same frames of both: good ones and such with a wrong header, a VNI that is not there, a source
// address that no station has, cut off, and under every ECN field.
//
// Two differences are left out, because they are meant: the kernel does not look for an ECN field behind an 802.1Q tag, where RFC 6040 holds as well, and
// drops what says to be IP but is shorter than an IP header, which is not a switch's business.
func TestDecapsulationAsKernel(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		o := newOracle(t, s)
		local, remote := o.ends()
		sent := map[uint64]string{}
		toSwitch := encaptest.Packet{SrcMAC: macOf(s.wire.MAC("eth0")), DstMAC: macOf(s.MAC("eth0")), Src: s.remotes[0].addr, Dst: s.config.Local}
		toKernel := encaptest.Packet{SrcMAC: macOf(o.wire2.MAC("eth0")), DstMAC: macOf(o.kernel.MAC("eth0")), Src: remote, Dst: local}
		var frames, datagrams, datagrams2 [][]byte
		for range oracleFrames {
			tagged := o.rng.IntN(4) == 0
			tos := uint8(o.rng.Uint32())
			if tagged {
				tos &^= 3
			}
			frame := o.frame(tagged)
			header := uint64(0x08)<<56 | 42<<8
			what := "good"
			switch o.rng.IntN(12) {
			case 0:
				what, header = "reserved bit", header|1<<o.rng.IntN(8)
			case 1:
				what, header = "no I flag", header&^(0x08<<56)
			case 2:
				what, header = "other VNI", header^1<<(8+o.rng.IntN(24))
			case 3:
				what = "source zero"
				encap.Ethernet(frame).SetSrc(0)
			case 4:
				what = "source multicast"
				encap.Ethernet(frame).SetSrc(0x01005e000001)
			}
			frames = append(frames, frame)
			payload := append(binary.BigEndian.AppendUint64(nil, header), frame...)
			if o.rng.IntN(20) == 0 {
				what, payload = "cut off", payload[:o.rng.IntN(encap.VXLANLen+encap.EthernetLen)]
			}
			sent[key(frame)] = fmt.Sprintf("%s, outer tos %#02x, % x", what, tos, payload[:min(len(payload), 50)])
			for _, end := range []struct {
				outer encaptest.Packet
				list  *[][]byte
			}{{toSwitch, &datagrams}, {toKernel, &datagrams2}} {
				end.outer.V6, end.outer.Proto, end.outer.TOS, end.outer.Payload = local.Is6(), encap.ProtoUDP, tos, payload
				end.outer.SrcPort, end.outer.DstPort = 50000, DefaultPort
				*end.list = append(*end.list, end.outer.Frame())
			}
		}
		for n := range stations {
			s.pinned(42, "", station(n))
		}
		s.pinned(42, "p0", destinations(frames)...)
		for i := 0; i < len(datagrams); i += 50 {
			s.wire.Inject("eth0", datagrams[i:i+50]...)
			o.wire2.Inject("eth0", datagrams2[i:i+50]...)
			s.rest()
		}
		bare := func(frame []byte) ([]byte, string) { return frame, "" }
		o.same("decapsulation", sent, collect(t, s.sniffed["p0"], bare), collect(t, o.device, bare))
		s.balance()
		s.wantCarried(0, 50)
	})
}
