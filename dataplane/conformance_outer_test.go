package dataplane

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// A router may cut an encapsulated packet into fragments, and the VTEP may discard them (RFC 7348 section 4.3). vtepd takes what the kernel puts together
// again: the frame arrives whole, or not at all. It makes none itself: every datagram that a wiretap sees is looked at for it.
//
//	p0 (VNI 42, MTU 3000) ── switch ════ r0, which sends 2500 bytes over an MTU of 1500
func TestOuterFragmentsAreReassembled(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
		s.configuredPort(PortConfig{Name: "p0", Untagged: 42, MTU: 3000})
		r := s.remotes[0]
		level, option := unix.SOL_IP, unix.IP_MTU_DISCOVER
		if r.addr.Is6() {
			level, option = unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER
		}
		r.option(level, option, unix.IP_PMTUDISC_DONT)
		for _, size := range []int{1400, 1443, 1500, 2500} {
			frame := encaptest.Packet{SrcMAC: station(1), DstMAC: broadcast, Proto: encap.ProtoUDP, Payload: encaptest.Payload(size, 1)}.Frame()
			s.drops(0, ReasonNone, func() { r.send(42, frame, frame) })
			got := s.seen("p0")
			if len(got) != 2 {
				t.Errorf("%d bytes: %d frames, want 2", size, len(got))
			}
			for _, f := range got {
				if string(f) != string(frame) {
					t.Errorf("%d bytes: the frame was changed", size)
				}
			}
		}
	})
}

// A UDP checksum that is not zero is right, over the pseudo-header, the UDP and VXLAN headers and the frame (RFC 7348 section 5, RFC 768): of single
// frames of odd and even length, and of the segments of a superframe. It is looked at behind the last device that could have finished it. With
// `udp-checksum: auto` the fast path sends none over IPv4, and with `on` it leaves such frames to user space.
//
//	p0 (VNI 42) ── switch ── eth0 (no checksum offload) ══ eth0 (sniffed)
func TestOuterChecksumIsRight(t *testing.T) {
	everyMode(t, 1, func(t *testing.T, s *scene) {
		s.set(VNIConfig{VNI: 42}, s.addrs()...)
		s.port("p0", 42)
		s.pinned(42, "p0", station(1))
		s.pinned(42, "", station(2))
		s.link.ChecksumsOff()
		w := newWiretap(s)
		for _, policy := range []UDPChecksum{ChecksumAuto, ChecksumOn} {
			s.set(VNIConfig{VNI: 42, Header: HeaderPolicy{UDPChecksum: policy}}, s.addrs()...)
			none := policy == ChecksumAuto && s.fastPathOn() && s.config.Local.Is4()
			var singles [][]byte
			for size := range 20 {
				singles = append(singles, encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, Payload: encaptest.Payload(size, uint64(size))}.Frame())
			}
			s.Inject("p0", singles...)
			w.wantUDPChecksums(fmt.Sprint(policy, ", single frames"), len(singles), none)
			big, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Flags: encap.TCPAck, Payload: encaptest.Payload(10999, 1)}.Superframe(1100)
			s.InjectSuperframe("p0", encodeOffload(off), big)
			w.wantUDPChecksums(fmt.Sprint(policy, ", segments"), 10, none)
		}
	})
}

// wantUDPChecksums looks at the datagrams since the last look: how many there are, and that each has a right checksum, or none.
func (w *wiretap) wantUDPChecksums(what string, want int, none bool) {
	w.t.Helper()
	w.rest()
	seen := 0
	for empty := 0; empty < 2; {
		f, ok := w.sniffer.Next(2 * time.Millisecond)
		if !ok {
			empty++
			continue
		}
		empty = 0
		var l encap.Layout
		l.Parse(f.Data)
		if l.Proto != encap.ProtoUDP || binary.BigEndian.Uint16(f.Data[l.L4+2:]) != DefaultPort {
			continue
		}
		seen++
		udp := f.Data[l.L4:l.End]
		if field := binary.BigEndian.Uint16(udp[6:]); none {
			if field != 0 {
				w.t.Errorf("%s: datagram of %d bytes: checksum %#04x, want none", what, len(udp), field)
			}
		} else if f.ChecksumUnfinished || field == 0 || sumOfUDP(f.Data, &l) != 0xffff {
			w.t.Errorf("%s: datagram of %d bytes: checksum %#04x, left to hardware %t, sums up to %#04x, want 0xffff", what, len(udp), field, f.ChecksumUnfinished, sumOfUDP(f.Data, &l))
		}
	}
	if seen != want {
		w.t.Errorf("%s: %d datagrams, want %d", what, seen, want)
	}
}

// sumOfUDP is the one's complement sum over the pseudo-header and all of the UDP datagram in a frame: 0xffff when the checksum is right.
func sumOfUDP(frame []byte, l *encap.Layout) uint16 {
	addresses := frame[l.L3+12 : l.L3+20]
	if l.Flags&encap.LayoutIPv6 != 0 {
		addresses = frame[l.L3+8 : l.L3+40]
	}
	udp := frame[l.L4:l.End]
	sum := encaptest.ReferenceSum(addresses, encap.ProtoUDP)
	sum = encaptest.ReferenceSum(binary.BigEndian.AppendUint16(nil, uint16(len(udp))), sum)
	return encaptest.ReferenceSum(udp, sum)
}
