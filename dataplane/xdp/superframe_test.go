package xdp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestBehindSuperframes sends a superframe that user space gets, and then what may not overtake it: what is between the same stations and of the same
// protocol goes there too, for a while; all else is carried.
func TestBehindSuperframes(t *testing.T) {
	onOneCPU(t)
	tcp := func(dst, src [6]byte, size int) []byte {
		return packet{proto: 6, l4: tcpWith(0x10, size)}.frame(dst, src)
	}
	udp := func(dst, src [6]byte, size int) []byte { return packet{proto: 17, l4: udpTo(7, size)}.frame(dst, src) }
	from := func(peer netip.Addr, frames ...[]byte) []byte {
		payload := slices.Clone(frames[0])
		for _, f := range frames[1:] {
			payload = append(binary.BigEndian.AppendUint64(payload, vxlanHeader(testVNI)), f...)
		}
		return letterFrom(peer, payload).bytes()
	}
	type sent struct {
		fromPort bool
		data     []byte
		gso      int
		verdict  int
	}
	single := tcp(macA, macB, 1000)
	carried := func(frames ...[]byte) (list []sent) {
		for _, f := range frames {
			list = append(list, sent{data: f, verdict: fromPeer})
		}
		return list
	}
	for _, c := range []struct {
		name   string
		super  sent
		behind []sent // their verdicts are those without a superframe before them
		beside []sent
	}{
		{
			name:   "datagrams joined, TCP",
			super:  sent{data: from(remote4, single, single, tcp(macA, macB, 10)), gso: 8 + len(single), verdict: oddSuperframe},
			behind: []sent{{data: from(remote4, single), verdict: fromPeer}, {data: from(remote4, tcp(macA, macB, 1)), verdict: fromPeer}},
			beside: carried(from(remote4, udp(macA, macB, 1)), from(remote6, tcp(macA, macC, 1000)), from(remote4, tcp(macD, macB, 1000)), from(remote4, tcp(macA, macE, 1000))),
		},
		{
			name:   "datagrams joined, UDP",
			super:  sent{data: from(remote6, udp(macA, macC, 1000), udp(macA, macC, 1000)), gso: 8 + len(udp(macA, macC, 1000)), verdict: oddSuperframe},
			behind: []sent{{data: from(remote6, udp(macA, macC, 10)), verdict: fromPeer}},
			beside: carried(from(remote6, tcp(macA, macC, 10)), from(remote4, udp(macA, macB, 10))),
		},
		{
			name:   "a UDP superframe from a peer",
			super:  sent{data: from(remote4, udp(macA, macB, 3000)), gso: 1000, verdict: oddSuperframe},
			behind: []sent{{data: from(remote4, udp(macA, macB, 500)), verdict: fromPeer}},
			beside: carried(from(remote4, tcp(macA, macB, 500))),
		},
		{
			name:   "a TCP superframe to a netdev port",
			super:  sent{data: from(remote4, tcp(macD, macB, 3000)), gso: 1000, verdict: oddSuperframe},
			behind: []sent{{data: from(remote4, tcp(macD, macB, 500)), verdict: fromPeer}},
			beside: carried(from(remote4, tcp(macA, macB, 500)), from(remote4, udp(macD, macB, 500))),
		},
		{
			// A test run does not say of which kind the superframe is, and the kernel does not shorten it.
			name:   "a TCP superframe that is to be carried",
			super:  sent{data: from(remote4, tcp(macA, macB, 3000)), gso: 1000, verdict: refused},
			beside: carried(from(remote4, tcp(macA, macB, 500))),
		},
		{
			name:   "a UDP superframe to a peer",
			super:  sent{fromPort: true, data: udp(macB, macA, 3000), gso: 1000, verdict: oddSuperframe},
			behind: []sent{{fromPort: true, data: udp(macB, macA, 1000), verdict: toPeer}, {fromPort: true, data: udp(macB, macA, 1), verdict: toPeer}},
			beside: []sent{
				{fromPort: true, data: tcp(macB, macA, 1), verdict: toPeer}, {fromPort: true, data: udp(macC, macA, 1), verdict: toPeer},
				{data: from(remote4, udp(macA, macB, 1)), verdict: fromPeer},
			},
		},
		{
			name:   "a UDP superframe to a port",
			super:  sent{fromPort: true, data: udp(macD, macA, 3000), gso: 1000, verdict: toPort},
			beside: []sent{{fromPort: true, data: udp(macD, macA, 1), verdict: toPort}},
		},
	} {
		for _, refused := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: ", no flow cache"}[refused], func(t *testing.T) {
				b := newBench(t, func(o *Options, _ *Domain) { o.Refuse.Capabilities = without(refused) })
				send := func(s sent) int {
					t.Helper()
					program := map[bool]*ebpf.Program{false: b.objects.VtepdUnderlay, true: b.objects.VtepdTap}[s.fromPort]
					_, verdict, _ := b.run(program, s.data, &skb{Ifindex: loopback, GSOSize: uint32(s.gso)})
					return verdict
				}
				want := func(s sent, verdict int, when string) {
					t.Helper()
					if v := send(s); v != verdict {
						t.Errorf("%d bytes %s: verdict %d %q, want %d %q", len(s.data), when, v, word(v), verdict, word(verdict))
					}
				}
				for _, s := range c.behind {
					want(s, s.verdict, "before")
				}
				want(c.super, c.super.verdict, "superframe")
				for _, s := range c.beside {
					want(s, s.verdict, "beside")
				}
				for _, s := range c.behind {
					for {
						began := time.Now()
						want(c.super, c.super.verdict, "superframe again")
						if v := send(s); time.Since(began) < 80*time.Millisecond {
							if v != behindSuperframe {
								t.Errorf("%d bytes behind: verdict %d %q", len(s.data), v, word(v))
							}
							break
						}
					}
				}
				time.Sleep(130 * time.Millisecond)
				for _, s := range c.behind {
					want(s, s.verdict, "later")
				}
			})
		}
	}
}
