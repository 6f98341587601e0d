package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func groupPort(s string) netip.AddrPort { return netip.AddrPortFrom(ip(s), 0) }

func TestMulticast(t *testing.T) {
	for _, tc := range []struct{ name, group, local string }{
		{"ipv4", "239.1.1.1", addrA4},
		{"ipv6", "ff05::42", addrA6},
		{"ipv6 link-local", "ff02::4242", addrA6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(ip(tc.local).Is6(), nil)
			var members [2]*Receiver
			for i := range members {
				l.inB(func() {
					var err error
					members[i], err = b.Join(groupPort(tc.group), 0, b.Receiver(0))
					must(t, err)
				})
			}
			own, err := a.Join(groupPort(tc.group), 0, nil)
			must(t, err)
			tx, to := a.NewTransmitter(), NewDest(netip.AddrPortFrom(ip(tc.group), DefaultPort))
			var want []string
			for i := range 5 {
				p := payload(300, byte(i))
				tx.Queue(to, Class{}, 0, p[:8], p[8:], 0)
				want = append(want, string(p))
			}
			tx.Flush(func(_ uint32, err error) { t.Error(err) })
			for _, member := range members {
				for i, d := range collect(t, member, 5) {
					if string(d.data) != want[i] || d.source.Addr() != a.Local().Addr() {
						t.Errorf("datagram %d from %v changed", i, d.source)
					}
				}
			}
			nothingMore(t, b.Receiver(0))
			nothingMore(t, own)
			before := b.Counters()
			b.Leave(members[0])
			b.Leave(members[0])
			if after := b.Counters(); after != before {
				t.Errorf("counters went from %+v to %+v", before, after)
			}
			if r := b.Receiver(0); members[1].room != r.room || members[1].Port() != DefaultPort {
				t.Errorf("port %d, own memory %t: want %d and the memory of the first", members[1].Port(), members[1].room != r.room, DefaultPort)
			}
		})
	}
	newLab(t)
	s := mustOpen(t, Config{Local: ip(addrA4)})
	for _, g := range []string{"192.0.2.9", "ff05::1"} {
		if _, err := s.Join(groupPort(g), 0, nil); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), g) {
			t.Errorf("Join(%s): %v, want ErrConfig", g, err)
		}
	}
	if _, err := s.Join(groupPort("239.1.1.1"), 4711, nil); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "interface is not there") {
		t.Errorf("Join on an interface that is not there: %v", err)
	}
}

// A group on another port and through another interface than the one of Local, whose address all datagrams keep; a member on the first interface hears
// nothing.
//
//	A left  192.0.2.1 ══ right  192.0.2.2 B
//	  left2           ══ right2
func TestMulticastInterface(t *testing.T) {
	for _, tc := range []struct{ group, local string }{{"239.1.1.1", addrA4}, {"ff05::42", addrA6}} {
		t.Run(tc.group, func(t *testing.T) {
			l := newLab(t)
			must(t, netlink.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: "left2"}, PeerName: "right2", PeerNamespace: netlink.NsFd(l.b),
			}))
			configure(t, "left2", "198.51.100.1/24", "fe80::2:1/64")
			left2, err := net.InterfaceByName("left2")
			must(t, err)
			a, b := l.pair(ip(tc.local).Is6(), nil)
			const port = 8472
			group := netip.AddrPortFrom(ip(tc.group), port)
			var right, right2 *Receiver
			l.inB(func() {
				configure(t, "right2", "198.51.100.2/24", "fe80::2:2/64")
				ifi, err := net.InterfaceByName("right2")
				must(t, err)
				right2, err = b.Join(group, ifi.Index, nil)
				must(t, err)
				if group.Addr().Is4() { // IPv6 tells members apart by group alone
					right, err = b.Join(group, 0, nil)
					must(t, err)
				}
			})
			if got := a.InterfaceIndex("left2"); got != left2.Index {
				t.Errorf("left2 has index %d, want %d", got, left2.Index)
			}
			if got := a.InterfaceIndex("right2"); got != 0 {
				t.Errorf("right2 is in another namespace, and has index %d here", got)
			}
			tx, to := a.NewTransmitter(), NewDest(group)
			to.SetInterface(left2.Index)
			// IPv6 takes its time to believe in a new link: the first that arrives tells.
			for end := time.Now().Add(patience); ; {
				tx.Queue(to, Class{}, 0, []byte("ready?"), nil, 0)
				tx.Flush(nil)
				if readable(t, right2, 50*time.Millisecond) {
					break
				}
				if time.Now().After(end) {
					t.Fatal("nothing arrives")
				}
			}
			_, err = right2.Recv(MaxMessages)
			must(t, err)
			// The class must survive beside the interface.
			for i := range 4 {
				p := payload(300, byte(i))
				if !tx.Queue(to, Class{TOS: 8, TTL: 7}, 0, p[:8], p[8:], 0) {
					t.Fatal("no room")
				}
			}
			var failed error
			tx.Flush(func(_ uint32, err error) { failed = err })
			must(t, failed)
			for _, d := range collect(t, right2, 4) {
				if d.source.Addr() != ip(tc.local) {
					t.Errorf("from %v, want %s", d.source, tc.local)
				}
				if d.tos != 8 {
					t.Errorf("TOS %d, want 8", d.tos)
				}
			}
			if right != nil {
				nothingMore(t, right)
			}
		})
	}
}

// The kernel's bound on memberships counts by socket: more groups than that are no trouble, and a host that allows none says which sysctl it is.
func TestMulticastLimit(t *testing.T) {
	newLab(t)
	s := mustOpen(t, Config{Local: ip(addrA4)})
	for i := range 25 {
		if _, err := s.Join(groupPort(fmt.Sprintf("239.1.1.%d", i+1)), 0, s.Receiver(0)); err != nil {
			t.Fatalf("group %d: %v", i+1, err)
		}
	}
	writeSysctl(t, "net/ipv4/igmp_max_memberships", "0")
	_, err := s.Join(groupPort("239.1.2.1"), 0, s.Receiver(0))
	if !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), "net.ipv4.igmp_max_memberships") {
		t.Errorf("Join beyond the limit: %v", err)
	}
}
