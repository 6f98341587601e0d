package netdev

import (
	"fmt"
	"testing"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// benchStage is the two ends of a veth pair, each taken: what one writes the other reads, or nobody does.
//
//	port0 (host) ══ eth0 (workload)
func benchStage(b *testing.B) (port0, eth0 *Device) {
	b.Helper()
	l := lab.New(b)
	host := l.Host("host")
	work := l.Workload(host, "work", "port0", 1500)
	take := func(h *lab.Host, name string) (d *Device) {
		if err := h.Do(func() (err error) { d, err = Open(Options{Name: name, Offload: true, Buffer: 64 << 20}); return err }); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { d.Close() })
		return d
	}
	return take(host, "port0"), take(work, "eth0")
}

// benchFrames are the sizes of traffic: a small packet, a full one, and 64 KiB of TCP at once.
func benchFrames() []benchFrame {
	superframe, off := tcp(false, 62000, 1400)
	return []benchFrame{{"60", plain(60), encap.Offload{}}, {"1464", plain(1464), encap.Offload{}}, {"superframe", superframe, off}}
}

type benchFrame struct {
	name  string
	frame []byte
	off   encap.Offload
}

func BenchmarkWrite(b *testing.B) {
	for _, c := range benchFrames() {
		for _, batch := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/batch-%d", c.name, batch), func(b *testing.B) {
				d, other := benchStage(b)
				if err := other.Close(); err != nil { // the kernel takes the frames, and has no use for them
					b.Fatal(err)
				}
				q, parts := d.Handle(0), [][]byte{c.frame}
				failed := func(_ uint32, err error) { b.Fatal(err) }
				b.SetBytes(int64(len(c.frame)))
				b.ReportAllocs()
				for b.Loop() {
					q.Add(c.off, parts, 0)
					if q.Pending() == batch {
						q.Flush(failed)
					}
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, c := range benchFrames() {
		for _, limit := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/batch-%d", c.name, limit), func(b *testing.B) {
				d, other := benchStage(b)
				r, err := NewReceiver()
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				from, parts := other.Handle(0), [][]byte{c.frame}
				failed := func(_ uint32, err error) { b.Fatal(err) }
				b.SetBytes(int64(len(c.frame)))
				b.ReportAllocs()
				// Each turn of the loop is a frame; every limit-th reads that many.
				waiting, read := 0, 0
				for b.Loop() {
					if read > 0 {
						read--
						continue
					}
					if waiting == 0 {
						b.StopTimer()
						for range 4 * maxPending {
							if !from.Add(c.off, parts, 0) {
								from.Flush(failed)
								from.Add(c.off, parts, 0)
							}
							waiting++
						}
						from.Flush(failed)
						b.StartTimer()
					}
					frames, _, _ := r.Recv(d.Handle(0), limit)
					waiting -= len(frames)
					read = len(frames) - 1
				}
			})
		}
	}
}
