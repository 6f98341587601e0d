package encap_test

import (
	"fmt"
	"testing"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

func tcpPacket(v6 bool, n int) encaptest.Packet {
	return encaptest.Packet{V6: v6, Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Payload: encaptest.Payload(n, 1)}
}

func BenchmarkParse(b *testing.B) {
	for name, p := range map[string]encaptest.Packet{
		"tcp4": tcpPacket(false, 100), "tcp6": tcpPacket(true, 100), "arp": {EtherType: encap.EtherTypeARP, Payload: make([]byte, 28)},
		"tcp4tag": {Tags: []uint16{1}, Flags: encap.TCPAck}, "udp6ext": {V6: true, Proto: encap.ProtoUDP, Extensions: []encaptest.Extension{hopByHop(1)}},
	} {
		b.Run(name, func(b *testing.B) {
			f := p.Frame()
			var l encap.Layout
			for b.Loop() {
				l.Parse(f)
			}
		})
	}
}

func BenchmarkFlowHash(b *testing.B) {
	for name, p := range map[string]encaptest.Packet{"tcp4": tcpPacket(false, 10), "tcp6": tcpPacket(true, 10), "raw": {EtherType: 0x88cc, Payload: make([]byte, 50)}} {
		b.Run(name, func(b *testing.B) {
			f := p.Frame()
			var l encap.Layout
			l.Parse(f)
			var sum uint32
			for b.Loop() {
				sum += encap.FlowHash(f, &l, 1)
			}
			_ = sum
		})
	}
}

// The sizes are those of traffic: a header, a small frame, segments at underlay MTU
// 1500 and 9000, a superframe.
var sumSizes = []int{20, 64, 128, 256, 576, 1398, 1448, 8948, 65536}

func BenchmarkSum(b *testing.B) {
	for _, n := range sumSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf := encaptest.Payload(n, 1)
			b.SetBytes(int64(n))
			var sum uint16
			for b.Loop() {
				sum += encap.Sum(buf, 0)
			}
			_ = sum
		})
	}
}

func BenchmarkSumPortable(b *testing.B) {
	for _, n := range sumSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf := encaptest.Payload(n, 1)
			b.SetBytes(int64(n))
			var sum uint16
			for b.Loop() {
				sum += encap.SumPortable(buf)
			}
			_ = sum
		})
	}
}

// BenchmarkCut cuts a superframe of 47 segments, all headers into one arena.
func BenchmarkCut(b *testing.B) {
	for _, tt := range []struct {
		name string
		p    encaptest.Packet
		size uint16
	}{
		{"tcp4", tcpPacket(false, 65000), 1398},
		{"tcp6", tcpPacket(true, 65000), 1378},
		{"udp4", encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 65000)}, 1422},
		{"tcp4jumbo", tcpPacket(false, 65000), 8898},
	} {
		b.Run(tt.name, func(b *testing.B) {
			frame, off := tt.p.Superframe(tt.size)
			arena := make([]byte, 64*128)
			var c encap.Cutter
			var l encap.Layout
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				l.Parse(frame)
				if err := c.Init(frame, &l, off); err != nil {
					b.Fatal(err)
				}
				for i := range c.Count() {
					c.Segment(i, arena[i*128:i*128+128])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.Count()), "ns/segment")
		})
	}
}

// BenchmarkCoalesce joins 44 segments into one superframe. The first frame's headers
// are written back each time, as a receive buffer would bring them.
func BenchmarkCoalesce(b *testing.B) {
	for _, tt := range []struct {
		name  string
		p     encaptest.Packet
		size  uint16
		flows int
	}{
		{"tcp4", tcpPacket(false, 44*1398), 1398, 1},
		{"tcp6", tcpPacket(true, 44*1378), 1378, 1},
		{"udp4", encaptest.Packet{Proto: encap.ProtoUDP, Payload: make([]byte, 44*1422)}, 1422, 1},
		{"tcp4x8", tcpPacket(false, 6*1398), 1398, 8},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var frames [][]byte
			for i := range tt.flows {
				tt.p.SrcPort = uint16(1000 + i)
				frame, off := tt.p.Superframe(tt.size)
				frames = append(frames, cut(b, frame, off)...)
			}
			if tt.flows > 1 { // one of each flow in turn
				n := len(frames) / tt.flows
				mixed := make([][]byte, 0, len(frames))
				for i := range n {
					for j := range tt.flows {
						mixed = append(mixed, frames[j*n+i])
					}
				}
				frames = mixed
			}
			var heads [][]byte
			bytes := 0
			for i, f := range frames {
				bytes += len(f)
				if i < tt.flows {
					heads = append(heads, append([]byte(nil), f[:80]...))
				}
			}
			c := encap.NewCoalescer(256)
			b.SetBytes(int64(bytes))
			for b.Loop() {
				for i, h := range heads {
					copy(frames[i], h)
				}
				for _, f := range frames {
					c.Add(1, 0, allCaps, f)
				}
				if c.Len() != tt.flows {
					b.Fatal(c.Len())
				}
				for i := range c.Len() {
					c.Slot(i)
				}
				c.Reset()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(frames)), "ns/frame")
		})
	}
}

// BenchmarkAddAlone is what joining costs the frames that cannot join.
func BenchmarkAddAlone(b *testing.B) {
	ack := encaptest.Packet{Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2)}
	data := tcpPacket(false, 1000)
	data.SrcPort = 9
	for _, tt := range []struct {
		name  string
		frame []byte
		open  bool
	}{
		{"ack", ack.Frame(), false},
		{"ack beside an open slot", ack.Frame(), true},
		{"arp", encaptest.ARPRequest(encaptest.SrcMAC, encaptest.Src4, encaptest.Dst4), true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			c := encap.NewCoalescer(256)
			other := data.Frame()
			for b.Loop() {
				if c.Len() == 0 && tt.open {
					c.Add(1, 0, allCaps, other)
				}
				if !c.Add(1, 0, allCaps, tt.frame) {
					c.Reset()
				}
			}
		})
	}
}

func BenchmarkFinishChecksum(b *testing.B) {
	f, off := encaptest.Packet{Payload: make([]byte, 1406)}.Superframe(0)
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		if err := encap.FinishChecksum(f, off); err != nil {
			b.Fatal(err)
		}
	}
}
