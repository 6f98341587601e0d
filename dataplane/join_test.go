package dataplane

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// What a workload sends in single frames to another one of the same host reaches it as superframes, in order with those that it sent as such, and with
// nothing changed; between ports without offloads it stays as it was.
//
//	p0 (VNI 42) ── one worker, called by the test ── p1 (VNI 42)
func TestFramesBetweenPortsAreJoined(t *testing.T) {
	const size, before, count, behind = 1000, 20, 10, 5
	for _, offload := range []bool{true, false} {
		s := newScene(t, 0, func(c *Config) { c.Workers, c.Offload, c.FastPath = 1, offload, FastPathOff })
		s.set(VNIConfig{VNI: 42, Learning: true})
		s.port("p0", 42)
		s.port("p1", 42)
		s.Inject("p1", frameOf(station(2), broadcast))
		s.Inject("p0", frameOf(station(1), broadcast))
		s.forget()
		from, to := s.ports["p0"].published, s.ports["p1"].published
		w := s.parked()
		plain, super := newInjector(t, s.outer(), "p0"), newInjector(t, s.outer(), "p0")
		if err := unix.SetsockoptInt(super.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []struct {
			name  string
			v6    bool
			proto uint8
		}{{"tcp4", false, encap.ProtoTCP}, {"tcp6", true, encap.ProtoTCP}, {"udp4", false, encap.ProtoUDP}, {"udp6", true, encap.ProtoUDP}} {
			for _, finished := range []bool{true, false} {
				if !offload && !finished {
					continue // which a port without virtio-net header cannot have
				}
				t.Run(fmt.Sprintf("offload=%t/%s/finished=%t", offload, kind.name, finished), func(t *testing.T) {
					if caps := to.link.coalesce; offload && kind.proto == encap.ProtoUDP && !caps.UDP {
						t.Skip("this kernel takes no superframes of UDP here")
					}
					payload := encaptest.Payload(size*(before+count+behind), 7)
					packet := func(first, n int) encaptest.Packet {
						return encaptest.Packet{
							V6: kind.v6, Proto: kind.proto, SrcMAC: station(1), DstMAC: station(2), Flags: encap.TCPAck,
							ID: uint16(first), Seq: uint32(first * size), Payload: payload[first*size : (first+n)*size],
						}
					}
					put := func(frame []byte, off encap.Offload) {
						if !offload {
							plain.send(frame)
							return
						}
						header := encodeOffload(off)
						super.send(append(header[:], frame...))
					}
					singly := func(first, n int) {
						for i := first; i < first+n; i++ {
							if finished {
								put(packet(i, 1).Frame(), encap.Offload{})
							} else {
								put(packet(i, 1).Superframe(0))
							}
						}
					}
					totals := s.Totals()
					singly(0, before)
					if offload {
						put(packet(before, count).Superframe(size))
					} else {
						singly(before, count)
					}
					singly(before+count, behind)
					w.drain(source{int32(from.index), from.link.serial})

					var got []byte
					var sizes []int
					for _, f := range s.seen("p1") {
						p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
						var piece []byte
						if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
							piece = tcp.Payload
						} else if udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
							piece = udp.Payload
						} else {
							t.Errorf("neither TCP nor UDP: %v", p)
						}
						got, sizes = append(got, piece...), append(sizes, len(piece)/size)
					}
					if !bytes.Equal(got, payload) {
						t.Errorf("%d bytes of payload differ from the %d that were sent", len(got), len(payload))
					}
					want := []int{before, count, behind}
					if !offload {
						want = slices.Repeat([]int{1}, before+count+behind)
					}
					if fmt.Sprint(sizes) != fmt.Sprint(want) {
						t.Errorf("frames of %v segments, want %v", sizes, want)
					}
					after := s.Totals()
					if n := after.Received - totals.Received; n != before+count+behind || after.Dropped != totals.Dropped {
						t.Errorf("%d frames received and %d dropped, want %d and none: %+v", n, after.Dropped-totals.Dropped, before+count+behind, s.Drops())
					}
				})
			}
		}
	}
}
