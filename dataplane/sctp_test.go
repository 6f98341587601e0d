package dataplane

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// SCTP of a workload, whose stack leaves the checksum to its end of a veth pair, arrives with one: at peers, at ports that would take it without, and also when it was a
// peer's stack that left it out. Padding is no part of it.
//
//	p0, p1, p2 (VNI 42) ── switch ════ r0
func TestSCTP(t *testing.T) {
	t.Parallel()
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newSceneOf(t, kind, nil, 1, func(c *Config) { c.FastPath = FastPathOff })
			s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
			for _, p := range []string{"p0", "p1", "p2"} {
				s.port(p, 42)
			}
			s.pinned(42, "p1", station(2))
			s.pinned(42, "", station(5))
			sctp := func(dst uint64, v6, sum bool) []byte {
				payload := append([]byte{0x8e, 0x3c, 0x8e, 0x3c, 1, 2, 3, 4, 0, 0, 0, 0}, encaptest.Payload(60, dst)...)
				if sum {
					binary.LittleEndian.PutUint32(payload[8:], crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
				}
				return encaptest.Packet{SrcMAC: station(1), DstMAC: dst, V6: v6, Proto: encap.ProtoSCTP, Payload: payload, Pad: 4}.Frame()
			}
			for _, v6 := range []bool{false, true} {
				l4 := uint16(encap.EthernetLen + encap.IPv4MinLen)
				if v6 {
					l4 = encap.EthernetLen + encap.IPv6Len
				}
				off := encodeOffload(encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: l4, CsumOffset: encap.SCTPChecksumOffset})
				for _, c := range []struct {
					name string
					to   uint64
					port bool // from there, not from the peer
					want string
				}{
					{"to a peer", station(5), true, "r0:1"},
					{"to a port", station(2), true, "p1:1"},
					{"to all", broadcast, true, "p1:1 p2:1 r0:1"},
					{"from a peer to a port", station(2), false, "p1:1"},
					{"from a peer to all", broadcast, false, "p0:1 p1:1 p2:1"},
				} {
					s.forget()
					if c.port {
						s.InjectSuperframe("p0", off, sctp(c.to, v6, false))
					} else {
						frame := sctp(c.to, v6, false)
						encap.Ethernet(frame).SetSrc(station(6))
						s.remotes[0].send(42, frame)
					}
					s.rest()
					var came [][]byte
					for _, p := range []string{"p0", "p1", "p2"} {
						came = append(came, s.seen(p)...)
					}
					for _, d := range s.remotes[0].received() {
						came = append(came, d.frame)
					}
					want := sctp(c.to, v6, true)
					if !c.port {
						encap.Ethernet(want).SetSrc(station(6))
					}
					for _, f := range came {
						if !bytes.Equal(f, want) {
							t.Errorf("IPv6 %t, %s:\n% x came, want\n% x", v6, c.name, f, want)
						}
					}
					if len(came) != len(bytes.Fields([]byte(c.want))) {
						t.Errorf("IPv6 %t, %s: %d came, want %s", v6, c.name, len(came), c.want)
					}
				}
			}
			const l4 = encap.EthernetLen + encap.IPv4MinLen
			s.drops(1, BadOffload, func() { // half of the checksum is cut off
				s.InjectSuperframe("p0", encodeOffload(encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: l4, CsumOffset: encap.SCTPChecksumOffset}), sctp(station(5), false, false)[:l4+11])
			})
			s.balance()
		})
	}
}
