package dataplane

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// Superframes that the kernel of a peer on the same machine wrapped up whole, and that its veth pair did not cut: both paths deliver the same stream in
// segments that fit the port, each with right checksums. User space, which is not told the size of the segments, may choose another; where the
// sender's are the largest that fit, the segments are the same.
//
//	p0 ── switch ── eth0 ══ eth0 ── vx (VNI 42, the kernel's, with r0's address)
func TestFastPathTunnelledSuperframes(t *testing.T) {
	for _, kind := range []PortType{PortTAP, PortVeth, PortNetdev} {
		for _, v6 := range []bool{false, true} {
			if testing.Short() && v6 != (kind == PortVeth) {
				continue
			}
			o := twinOptions{kind: kind, v6: v6, zero6: true}
			t.Run(o.String(), func(t *testing.T) {
				t.Parallel()
				tw := newTwins(t, o)
				var in [2][2]*lab.Injector
				for i, w := range tw.pair {
					for j, check := range [][]string{{"noudpcsum", "udp6zerocsumtx"}, {"udpcsum", "noudp6zerocsumtx"}} {
						in[i][j] = w.kernelVTEP(fmt.Sprint("vx", j), 14789+j, check...)
					}
				}
				carried := tw.pair[1].carried()
				frames := 0
				for n, v6Inside := range []bool{false, true} {
					header := encap.EthernetLen + encap.IPv4MinLen + encap.TCPMinLen + 12
					if v6Inside {
						header += encap.IPv6Len - encap.IPv4MinLen
					}
					most := min(tw.pair[0].limit("p0"), 1464) - header
					if v6 {
						most = min(tw.pair[0].limit("p0"), 1444) - header // what fits in 1500 bytes of underlay with 70 of headers
					}
					for _, size := range []int{most, 1000, 100} {
						for j := range in[0] {
							p := stream(hostMember0, hostOwn, 9*size+50, v6Inside, false)
							p.SrcPort = uint16(3000 + 100*n + j + size)
							f, off := p.Superframe(uint16(size))
							var header [encap.OffloadLen]byte
							off.Encode(header[:])
							var got [2][]string
							for i, w := range tw.pair {
								w.now = outcome{Out: make(map[string][]string)}
								if err := in[i][j].Send(header, f); err != nil {
									t.Fatal(err)
								}
								w.quiet()
								w.look(tw.names)
								got[i] = w.now.Out["p0"]
								if stream := w.assemble(got[i]); stream != string(p.Payload) {
									t.Errorf("fast path %v, segments of %d: %d segments with %d bytes, want %d", w.fast, size, len(got[i]), len(stream), len(p.Payload))
								}
							}
							if size == most && !slices.Equal(got[0], got[1]) {
								t.Errorf("user space and fast path differ in segments of %d:\n%.500s\n%.500s", size, got[0], got[1])
							}
							frames += 10
						}
					}
				}
				carried = tw.pair[1].carried() - carried
				t.Logf("%d of %d segments were carried by the fast path", carried, frames)
				if kind != PortNetdev && carried < uint64(frames)/2 {
					t.Error("too few to have compared anything")
				}
			})
		}
	}
}

// kernelVTEP makes a vxlan device of the kernel on the wire, with the address of remote 0 and a port of its own to listen on.
func (w *twin) kernelVTEP(name string, listen int, options ...string) *lab.Injector {
	w.t.Helper()
	w.wire.Must("ip", append([]string{"link", "add", name, "type", "vxlan", "id", "42", "local", w.remotes[0].addr.String(), "dev", w.link.B.Name,
		"dstport", fmt.Sprint(listen), "srcport", "50000", "60000"}, options...)...)
	w.wire.Must("sysctl", "-q", "-w", "net.ipv6.conf."+name+".disable_ipv6=1")
	w.wire.Must("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", name, "dst", w.config.Local.String(), "port", fmt.Sprint(w.config.DstPort))
	w.wire.Up(name)
	return w.wire.Injector(name)
}

// limit is the largest frame that a port takes, in bytes.
func (w *twin) limit(port string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ports[port].published.maxFrame
}

// assemble is the payload of TCP segments in the order of their sequence numbers. Each has to fit p0 and have right checksums.
func (w *twin) assemble(lines []string) string {
	w.t.Helper()
	type piece struct {
		seq     uint32
		payload string
	}
	var pieces []piece
	for _, line := range lines {
		var f []byte
		if _, err := fmt.Sscanf(line, "%x", &f); err != nil {
			w.t.Fatal(err)
		}
		var l encap.Layout
		l.Parse(f)
		if l.Proto != encap.ProtoTCP || l.Payload == 0 {
			w.t.Errorf("no TCP segment: %x", f)
			continue
		}
		if len(f) > w.limit("p0") {
			w.t.Errorf("a segment of %d bytes on a port that takes %d", len(f), w.limit("p0"))
		}
		ip, tcp := f[l.L3:], f[l.L4:l.End]
		addresses := ip[12:20]
		if ip[0]>>4 == 6 {
			addresses = ip[8:40]
		} else if encaptest.ReferenceSum(ip[:encap.IPv4MinLen], 0) != 0xffff {
			w.t.Errorf("wrong IPv4 checksum: %x", f)
		}
		pseudo := encaptest.ReferenceSum([]byte{byte(len(tcp) >> 8), byte(len(tcp)), 0, encap.ProtoTCP}, encaptest.ReferenceSum(addresses, 0))
		if encaptest.ReferenceSum(tcp, pseudo) != 0xffff {
			w.t.Errorf("wrong TCP checksum: %x", f)
		}
		seq := uint32(tcp[4])<<24 | uint32(tcp[5])<<16 | uint32(tcp[6])<<8 | uint32(tcp[7])
		pieces = append(pieces, piece{seq, string(f[l.Payload:l.End])})
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.seq, b.seq) })
	var all string
	for _, p := range pieces {
		all += p.payload
	}
	return all
}

// TestFastPathOuterChecksum: the one difference that is meant. User space's socket verifies the UDP checksum of a datagram; the programs do not, which RFC
// 7348 section 5 leaves to the receiver.
func TestFastPathOuterChecksum(t *testing.T) {
	for _, o := range []twinOptions{{kind: PortTAP}, {kind: PortVeth, v6: true, zero6: true}} {
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			tw := newTwins(t, o)
			a := tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.BadChecksum = true })
			for i, want := range []int{0, 1} {
				w := tw.pair[i]
				w.now = outcome{Out: make(map[string][]string)}
				if err := w.wireIn.Send([encap.OffloadLen]byte{}, a.frame); err != nil {
					t.Fatal(err)
				}
				w.quiet()
				w.look(tw.names)
				if got := len(w.now.Out["p0"]); got != want || w.now.Totals.Received != uint64(want) {
					t.Errorf("fast path %v: %d frames came out, want %d; %+v", w.fast, got, want, w.now.Totals)
				}
			}
		})
	}
}
