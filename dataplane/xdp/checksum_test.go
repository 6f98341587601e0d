package xdp

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// checksumComplete has a test run give the frame the checksum that a network card computes over all of it (CHECKSUM_COMPLETE), and fail with EBADMSG when
// it is wrong afterwards (BPF_F_TEST_SKB_CHECKSUM_COMPLETE).
const checksumComplete = 1 << 2

// TestUnwrapKeepsChecksum: the checksum that a network card computed over a datagram is right for the frame taken out of it. The receiver would else sum up
// every packet again, and the kernel's log accuse the card.
func TestUnwrapKeepsChecksum(t *testing.T) {
	t.Parallel()
	for _, peer := range []netip.Addr{remote4, remote6} {
		for _, v6 := range []bool{false, true} {
			for _, tos := range []uint8{0, 1, 3} {
				t.Run(fmt.Sprintf("%s, IPv6 %v, ECN %d", peer, v6, tos), func(t *testing.T) {
					b := newBench(t, nil)
					p := known()
					p.ipv6, p.tos = v6, 0xb8|2
					w := letterFrom(peer, p.frame(macA, map[netip.Addr][6]byte{remote4: macB, remote6: macC}[peer]))
					w.tos = tos
					d := w.bytes()
					_, err := b.objects.VtepdUnderlay.Run(&ebpf.RunOptions{Data: d, DataOut: make([]byte, len(d)+256), Context: &skb{Ifindex: loopback}, Flags: checksumComplete})
					switch {
					case err == unix.EINVAL:
						t.Skip("the kernel's test runs do not verify checksums")
					case err != nil:
						t.Error(err)
					}
					if c := b.count(); c[fromPeer] != 1 {
						t.Errorf("not carried: %v", c)
					}
				})
			}
		}
	}
}
