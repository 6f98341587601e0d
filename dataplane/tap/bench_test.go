package tap

import (
	"testing"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// BenchmarkWrite gives frames to a stack that has no use for them.
func BenchmarkWrite(b *testing.B) {
	for _, bc := range []struct {
		name    string
		offload bool
		pieces  int // of the superframe's payload; 0: one plain frame
		size    int
	}{
		{"plain/60", false, 0, 60},
		{"plain/1464", false, 0, 1464},
		{"vnet/60", true, 0, 60},
		{"vnet/1464", true, 0, 1464},
		{"vnet/superframe-44", true, 44, 0},
		{"vnet/superframe-1", true, 1, 0},
	} {
		b.Run(bc.name, func(b *testing.B) {
			newNetNS(b)
			q := mustOpen(b, Options{Name: "tap0", Offload: bc.offload}).Queue(0)
			off, parts := encap.Offload{}, [][]byte{testFrame(max(bc.size, 60), 0)}
			if bc.pieces > 0 {
				o, frame := superframe(44*1398, 1398)
				off, parts = o, [][]byte{frame[:66]}
				step := 44 * 1398 / bc.pieces
				for rest := frame[66:]; len(rest) > 0; rest = rest[step:] {
					parts = append(parts, rest[:step])
				}
			}
			n := 0
			for _, p := range parts {
				n += len(p)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := q.Write(off, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead takes what a packet socket put on the interface; the figure is
// for sending and reading.
func BenchmarkRead(b *testing.B) {
	for _, bc := range []struct {
		name  string
		super bool
	}{{"60", false}, {"superframe", true}} {
		b.Run(bc.name, func(b *testing.B) {
			newNetNS(b)
			q := mustOpen(b, Options{Name: "tap0", Offload: true}).Queue(0)
			s := newStack(b, "tap0", true)
			out := append(make([]byte, encap.OffloadLen), testFrame(60, 0)...)
			if bc.super {
				off, frame := superframe(44*1398, 1398)
				off.HdrLen = 66
				out = append(make([]byte, encap.OffloadLen), frame...)
				off.Encode(out)
			}
			buf := make([]byte, BufferSize)
			b.SetBytes(int64(len(out)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := unix.Write(s.fd, out); err != nil {
					b.Fatal(err)
				}
				if n, _, err := q.Read(buf); err != nil || n != len(out)-Headroom {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkReadEmpty(b *testing.B) {
	newNetNS(b)
	q := mustOpen(b, Options{Name: "tap0", Offload: true}).Queue(0)
	buf := make([]byte, BufferSize)
	for b.Loop() {
		if _, _, err := q.Read(buf); err != unix.EAGAIN {
			b.Fatal(err)
		}
	}
}
