package underlay

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// The batches of the benchmarks: a TCP superframe cut for an MTU of 1500, and
// small frames of many flows, as a worker sees them under mixed load.
func queueSuperframe(tx *Transmitter, to *Dest, headers, data []byte) {
	for i := range 44 {
		tx.Queue(to, Class{}, 7, headers[i*74:][:74], data[i*1398:][:1398], 0)
	}
}

func queueMixed(tx *Transmitter, to *Dest, headers, data []byte) {
	for i := range uint32(64) {
		tx.Queue(to, Class{}, i*2654435761, headers[i*74:][:8], data[i*1398:][:64+i*20], 0)
	}
}

// queueEqual is 64 frames of one size from 64 flows: a run for each socket.
func queueEqual(tx *Transmitter, to *Dest, headers, data []byte) {
	for i := range uint32(64) {
		tx.Queue(to, Class{}, i*2654435761, headers[i*74:][:8], data[i*1398:][:106], 0)
	}
}

func queueSmallFlow(tx *Transmitter, to *Dest, headers, data []byte) {
	for i := range 64 {
		tx.Queue(to, Class{}, 7, headers[i*74:][:8], data[i*1398:][:106], 0)
	}
}

func batches() map[string]func(tx *Transmitter, to *Dest, headers, data []byte) {
	return map[string]func(tx *Transmitter, to *Dest, headers, data []byte){
		"superframe": queueSuperframe, "mixed": queueMixed, "equal": queueEqual, "smallflow": queueSmallFlow,
	}
}

// BenchmarkAssemble is what this package costs by itself, without the kernel.
func BenchmarkAssemble(b *testing.B) {
	for name, queue := range batches() {
		b.Run(name, func(b *testing.B) {
			headers, data := make([]byte, 64*74), make([]byte, 64*1398)
			tx, _ := newWire(b, DefaultSourcePorts, nil)
			tx.sendmmsg = func(_ int, messages []mmsghdr) (int, unix.Errno) { return len(messages), 0 }
			b.ReportAllocs()
			for b.Loop() {
				queue(tx, testDest, headers, data)
				tx.Flush(nil)
			}
		})
	}
}

// BenchmarkFlush sends over a veth pair; the other end throws all away.
func BenchmarkFlush(b *testing.B) {
	for name, queue := range batches() {
		for _, gso := range []bool{true, false} {
			b.Run(name+"/"+modeName(gso, true), func(b *testing.B) {
				l := newLab(b)
				at, bt := l.pair(false, func(c *Config) { c.Refuse.GSO = !gso; c.ReceiveBuffer = 4096 })
				headers, data := make([]byte, 64*74), make([]byte, 64*1398)
				tx, to := at.NewTransmitter(), NewDest(bt.Local())
				queue(tx, to, headers, data)
				n := tx.Len()
				tx.Flush(nil)
				before := at.Counters()
				b.ReportAllocs()
				for b.Loop() {
					queue(tx, to, headers, data)
					tx.Flush(nil)
				}
				after := at.Counters()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/datagram")
				b.ReportMetric(float64(after.SendCalls-before.SendCalls)/float64(b.N), "calls/batch")
			})
		}
	}
}

// BenchmarkSourcePorts is the price of entropy: 64 frames of one size from 64
// flows, by the number of sockets they are spread over.
func BenchmarkSourcePorts(b *testing.B) {
	for _, ports := range []int{1, 2, 4, 8, 16} {
		b.Run(strconv.Itoa(ports), func(b *testing.B) {
			l := newLab(b)
			at, bt := l.pair(false, func(c *Config) { c.SourcePorts = ports; c.ReceiveBuffer = 4096 })
			headers, data := make([]byte, 64*74), make([]byte, 64*1398)
			tx, to := at.NewTransmitter(), NewDest(bt.Local())
			for b.Loop() {
				queueEqual(tx, to, headers, data)
				tx.Flush(nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/datagram")
		})
	}
}

// BenchmarkFlowLabels is the price of more labels than sockets: 512 small
// frames of one size, from as many flows as the name says.
func BenchmarkFlowLabels(b *testing.B) {
	for _, flows := range []uint32{1, 8, 64, 512} {
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("flows=%d/labels=%t", flows, on), func(b *testing.B) {
				l := newLab(b)
				at, bt := l.pair(true, func(c *Config) { c.ReceiveBuffer, c.FlowLabels = 4096, on })
				data := make([]byte, 114)
				tx, to := at.NewTransmitter(), NewDest(bt.Local())
				b.ReportAllocs()
				for b.Loop() {
					for i := range uint32(512) {
						tx.Queue(to, Class{}, i%flows*2654435761, data[:8], data[8:], 0)
					}
					tx.Flush(nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*512), "ns/datagram")
				c := at.Counters()
				b.ReportMetric(float64(c.Messages)/float64(b.N), "messages/batch")
			})
		}
	}
}

// BenchmarkExchange sends and receives, as two hosts on one core.
func BenchmarkExchange(b *testing.B) {
	for name, queue := range batches() {
		for _, offload := range []bool{true, false} {
			b.Run(name+"/"+modeName(offload, offload), func(b *testing.B) {
				l := newLab(b)
				at, bt := l.pair(false, func(c *Config) { c.Offload = offload })
				headers, data := make([]byte, 64*74), make([]byte, 64*1398)
				tx, to, r := at.NewTransmitter(), NewDest(bt.Local()), bt.Receiver(0)
				b.ReportAllocs()
				n, got := 0, 0
				for b.Loop() {
					queue(tx, to, headers, data)
					n += tx.Len()
					tx.Flush(nil)
					for {
						messages, err := r.Recv(MaxMessages)
						must(b, err)
						for i := range messages {
							got++
							if s := messages[i].DatagramSize; s > 0 {
								got += (len(messages[i].Data) - 1) / s
							}
						}
						if len(messages) < MaxMessages {
							break
						}
					}
				}
				if got != n {
					b.Errorf("%d of %d datagrams arrived", got, n)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/datagram")
				b.ReportMetric(float64(bt.Counters().RecvCalls)/float64(b.N), "recvcalls/batch")
			})
		}
	}
}

func BenchmarkRecvEmpty(b *testing.B) {
	newLab(b)
	r := mustOpen(b, Config{Local: ip(addrA4)}).Receiver(0)
	for b.Loop() {
		if m, err := r.Recv(MaxMessages); err != nil || len(m) != 0 {
			b.Fatal(m, err)
		}
	}
}
