package encap_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func TestUnfinished(t *testing.T) {
	const size = 1514
	payload := func(n int) []byte { return encaptest.Payload(n, 7) }
	for _, c := range []struct {
		name   string
		packet encaptest.Packet
		gso    uint8 // of what Unfinished says
	}{
		{"tcp4", encaptest.Packet{Payload: payload(100)}, encap.GSONone},
		{"tcp6", encaptest.Packet{V6: true, Payload: payload(101)}, encap.GSONone},
		{"udp4", encaptest.Packet{Proto: encap.ProtoUDP, Payload: payload(3)}, encap.GSONone},
		{"udp6", encaptest.Packet{V6: true, Proto: encap.ProtoUDP, Payload: payload(1000)}, encap.GSONone},
		{"pure ack", encaptest.Packet{Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Pad: 60}, encap.GSONone},
		{"tcp4 superframe", encaptest.Packet{Payload: payload(30000), TCPOptions: encaptest.Timestamps(1, 2)}, encap.GSOTCPv4},
		{"tcp6 superframe", encaptest.Packet{V6: true, Payload: payload(60001)}, encap.GSOTCPv6},
		{"tcp4 superframe with CWR", encaptest.Packet{Flags: encap.TCPAck | encap.TCPCwr, Payload: payload(3000)}, encap.GSOTCPv4 | encap.GSOECN},
		{"tagged", encaptest.Packet{Tags: []uint16{5}, Payload: payload(100)}, encap.GSONone},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame, want := c.packet.Superframe(0)
			var l encap.Layout
			l.Parse(frame)
			off, ok := encap.Unfinished(frame, &l, size)
			if !ok || off.CsumStart != want.CsumStart || off.CsumOffset != want.CsumOffset || !off.NeedsChecksum() || off.GSOType != c.gso {
				t.Fatalf("got %+v %t, want checksum at %d+%d, gso %d", off, ok, want.CsumStart, want.CsumOffset, c.gso)
			}
			if off.IsGSO() {
				var cutter encap.Cutter
				if err := cutter.Init(frame, &l, off); err != nil {
					t.Fatal(err)
				}
				for i := range cutter.Count() {
					if n := cutter.SegmentLen(i); n > size {
						t.Errorf("segment %d has %d bytes, more than %d", i, n, size)
					}
				}
				return
			}
			if err := encap.FinishChecksum(frame, off); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(frame, c.packet.Frame()) {
				t.Error("finished, it is not the frame that the sender meant")
			}
		})
	}
}

// Frames that are finished, broken, or not to be judged are left alone.
func TestFinishedIsLeftAlone(t *testing.T) {
	partial, _ := encaptest.Packet{Payload: encaptest.Payload(100, 1)}.Superframe(0)
	cut := bytes.Clone(partial[:len(partial)-1])
	longUDP, _ := encaptest.Packet{Proto: encap.ProtoUDP, Payload: encaptest.Payload(3000, 1)}.Superframe(0)
	for name, frame := range map[string][]byte{
		"tcp":       encaptest.Packet{Payload: encaptest.Payload(100, 1)}.Frame(),
		"udp":       encaptest.Packet{Proto: encap.ProtoUDP, Payload: encaptest.Payload(100, 1)}.Frame(),
		"udp zero":  encaptest.Packet{Proto: encap.ProtoUDP, NoChecksum: true, Payload: encaptest.Payload(100, 1)}.Frame(),
		"wrong":     encaptest.Packet{BadChecksum: true, Payload: encaptest.Payload(100, 1)}.Frame(),
		"icmp":      encaptest.Packet{Proto: encap.ProtoICMP, Payload: encaptest.Payload(100, 1)}.Frame(),
		"fragment":  encaptest.Packet{Fragment: encap.IPv4MoreFragments, Payload: encaptest.Payload(100, 1)}.Frame(),
		"arp":       encaptest.Packet{EtherType: encap.EtherTypeARP, Payload: make([]byte, 28)}.Frame(),
		"truncated": cut,
		"empty":     nil,
	} {
		var l encap.Layout
		l.Parse(frame)
		if off, ok := encap.Unfinished(frame, &l, 1514); ok || off != (encap.Offload{}) {
			t.Errorf("%s: %+v %t", name, off, ok)
		}
	}
	// Its datagrams are not known: finished whole, never cut.
	var l encap.Layout
	l.Parse(longUDP)
	if off, ok := encap.Unfinished(longUDP, &l, 1514); !ok || off.IsGSO() {
		t.Errorf("long udp: %+v %t", off, ok)
	}
}

// A right checksum that happens to equal the pseudo-header's sum stays as it is, though it is taken for an unfinished one.
func TestUnfinishedByChance(t *testing.T) {
	p := encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 4)}
	partial, _ := p.Superframe(0)
	var l encap.Layout
	l.Parse(partial)
	field := int(l.L4) + encap.UDPChecksumOffset
	want := [2]byte(partial[field : field+2])
	for n := range 1 << 16 {
		p.Payload = []byte{byte(n >> 8), byte(n), 0, 0}
		frame := p.Frame()
		if [2]byte(frame[field:field+2]) != want {
			continue
		}
		off, ok := encap.Unfinished(frame, &l, 1514)
		if !ok {
			t.Error("not taken for unfinished: the test shows nothing")
		} else if err := encap.FinishChecksum(frame, off); err != nil || !bytes.Equal(frame, p.Frame()) {
			t.Errorf("changed by finishing: %v", err)
		}
		if _, ok := encap.Unfinished(append(p.Frame(), 0, 0, 0x88, 0xfb), &l, 1514); ok {
			t.Error("taken for unfinished with a trailer, which would be summed too")
		}
		if _, ok := encap.Unfinished(append(p.Frame(), make([]byte, 18)...), &l, 1514); !ok {
			t.Error("not taken for unfinished with padding")
		}
		return
	}
	t.Fatal("no payload gives that checksum")
}

// An unfinished superframe whose bytes happen to add up is cut like any other.
func TestUnfinishedSuperframeByChance(t *testing.T) {
	frame, _ := encaptest.Packet{Payload: encaptest.Payload(4000, 3)}.Superframe(0)
	var l encap.Layout
	l.Parse(frame)
	pseudo := encap.PseudoIPv4(encap.IPv4(frame[l.L3:]), l.Proto, uint16(len(frame)-int(l.L4)))
	last := frame[len(frame)-2:]
	last[0], last[1] = 0, 0
	binary.BigEndian.PutUint16(last, ^encap.Sum(frame[l.L4:], pseudo))
	if encap.Sum(frame[l.L4:], pseudo) != 0xffff {
		t.Fatal("the bytes do not add up: the test is wrong")
	}
	if off, ok := encap.Unfinished(frame, &l, 1514); !ok || off.GSOType != encap.GSOTCPv4 {
		t.Errorf("got %+v %t", off, ok)
	}
}

func BenchmarkUnfinished(b *testing.B) {
	frame := encaptest.Packet{Payload: encaptest.Payload(1398, 1), TCPOptions: encaptest.Timestamps(1, 2)}.Frame()
	var l encap.Layout
	l.Parse(frame)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := encap.Unfinished(frame, &l, 1514); ok {
			b.Fatal("finished")
		}
	}
}
