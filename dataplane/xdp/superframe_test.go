package xdp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// reads opens the sockets of a VTEP, in a network namespace of the thread's own, until it is told to close them.
func reads(t *testing.T) (closeThem func()) {
	t.Helper()
	runtime.LockOSThread() // for good
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, to := range []unix.Sockaddr{&unix.SockaddrInet4{Addr: local4.As4(), Port: testPort}, &unix.SockaddrInet6{Addr: local6.As16(), Port: testPort}} {
		family, level, freebind := unix.AF_INET, unix.SOL_IP, unix.IP_FREEBIND
		if _, ok := to.(*unix.SockaddrInet6); ok {
			family, level, freebind = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_FREEBIND
		}
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := unix.SetsockoptInt(fd, level, freebind, 1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, to); err != nil {
			t.Fatal(err)
		}
	}
	closeThem = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		fds = nil
	}
	t.Cleanup(closeThem)
	return closeThem
}

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
	single, short := tcp(macA, macB, 1000), tcp(macA, macB, 400)
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
			// By their outer ports, which flows of many stations share.
			name:  "datagrams joined, between several stations",
			super: sent{data: from(remote4, short, short, udp(macA, macB, 412), tcp(macD, macB, 400), tcp(macA, macB, 1)), gso: 8 + len(short), verdict: oddSuperframe},
			behind: []sent{
				{data: from(remote4, tcp(macA, macB, 1)), verdict: fromPeer}, {data: from(remote4, udp(macA, macB, 1)), verdict: fromPeer},
				{data: from(remote4, tcp(macD, macB, 1)), verdict: fromPeer},
			},
			beside: carried(from(remote4, udp(macD, macB, 1)), from(remote6, tcp(macA, macC, 1))),
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
				die := reads(t)
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
				if len(c.behind) == 0 || c.super.fromPort {
					return
				}
				want(c.super, c.super.verdict, "superframe unread")
				die()
				for _, s := range c.behind {
					want(s, s.verdict, "unread")
				}
			})
		}
	}
}

// TestBehindInVRF: where the sockets are bound to a VRF the programs cannot find them, and leave behind what comes behind while the process lives. What comes in on
// a device was not seen by a filter: programs were exchanged, and filters are about to be.
func TestBehindInVRF(t *testing.T) {
	onOneCPU(t)
	from := func(peer netip.Addr, src [6]byte) func(size int) []byte {
		return func(size int) []byte {
			return letterFrom(peer, packet{proto: 17, l4: udpTo(7, size)}.frame(macA, src)).bytes()
		}
	}
	to := func(dst [6]byte) func(size int) []byte {
		return func(size int) []byte { return packet{proto: 17, l4: udpTo(7, size)}.frame(dst, macA) }
	}
	for _, c := range []struct {
		name    string
		device  bool
		frame   func(size int) []byte
		carried int
	}{
		{"from an IPv4 peer", false, from(remote4, macB), fromPeer},
		{"from an IPv6 peer", false, from(remote6, macC), fromPeer},
		{"to an IPv4 peer", true, to(macB), toPeer},
		{"to an IPv6 peer", true, to(macC), toPeer},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(o *Options, _ *Domain) { o.VRF, o.Alone = true, false })
			if err := b.PutPort(Port{Index: 0, Ifindex: loopback, Kind: Netdev, MaxFrame: 1464, Untagged: testVNI, Serial: 10, Filtered: true}); err != nil {
				t.Fatal(err)
			}
			send := func(size, gso int) int {
				program := map[bool]*ebpf.Program{false: b.objects.VtepdUnderlay, true: b.objects.VtepdDevice}[c.device]
				_, v, _ := b.run(program, c.frame(size), &skb{Ifindex: loopback, GSOSize: uint32(gso)})
				return v
			}
			want := func(size, gso, verdict int, when string) {
				t.Helper()
				if v := send(size, gso); v != verdict {
					t.Errorf("%s: verdict %d %q, want %q", when, v, word(v), word(verdict))
				}
			}
			want(500, 0, c.carried, "before")
			for {
				began := time.Now()
				want(3000, 1000, oddSuperframe, "superframe")
				if v := send(500, 0); time.Since(began) < 80*time.Millisecond {
					if v != behindSuperframe {
						t.Errorf("behind: verdict %d %q", v, word(v))
					}
					break
				}
			}
			time.Sleep(130 * time.Millisecond)
			want(500, 0, c.carried, "later")
			if err := b.sign.close(); err != nil {
				t.Fatal(err)
			}
			want(3000, 1000, oddSuperframe, "superframe unread")
			want(500, 0, c.carried, "unread")
		})
	}
}

// TestBehindAcrossTakeover: the next process's programs know what the former's left to user space, unless that is in a map that is none of theirs.
func TestBehindAcrossTakeover(t *testing.T) {
	for name, spoil := range map[string]bool{"the former's map": false, "another's map": true} {
		t.Run(name, func(t *testing.T) {
			lab.NeedRoot(t)
			needFastPath(t)
			dir := pinDir(t)
			next := func() *bench { return newBench(t, func(o *Options, _ *Domain) { o.PinDir = dir }) }
			notes := func(b *bench) (n int) {
				var value programsBehind
				var slot uint32
				for each := b.objects.Superframes.Iterate(); each.Next(&slot, &value); {
					if value.Superframe != 0 {
						n++
					}
				}
				return n
			}
			former := next()
			frame := packet{proto: 17, l4: udpTo(7, 3000)}.frame(macB, macA)
			if _, v, _ := former.run(former.objects.VtepdTap, frame, &skb{Ifindex: loopback, GSOSize: 1000}); v != oddSuperframe {
				t.Fatalf("superframe: verdict %d %q", v, word(v))
			}
			if err := former.Commit(); err != nil {
				t.Fatal(err)
			}
			pin := filepath.Join(former.pins.maps(), orderPin)
			if err := former.Abandon(); err != nil {
				t.Fatal(err)
			}
			want := 1
			if spoil {
				want = 0
				m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if err := errors.Join(os.Remove(pin), m.Pin(pin)); err != nil {
					t.Fatal(err)
				}
			}
			b := next()
			if n := notes(b); n != want {
				t.Errorf("%d notes of superframes, want %d", n, want)
			}
			if err := b.Commit(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBehindWithoutPause: what follows without a pause does not overtake what went to user space before it, in the end it does.
func TestBehindWithoutPause(t *testing.T) {
	b := newBench(t, nil)
	udp := func(size int) []byte { return packet{proto: 17, l4: udpTo(7, size)}.frame(macB, macA) }
	last := time.Now()
	if _, v, _ := b.run(b.objects.VtepdTap, udp(3000), &skb{Ifindex: loopback, GSOSize: 1000}); v != oddSuperframe {
		t.Fatalf("superframe: verdict %d %q", v, word(v))
	}
	for began := last; time.Since(began) < 300*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		before := time.Now()
		_, v, _ := b.run(b.objects.VtepdTap, udp(1), nil)
		if late := time.Since(last) > 80*time.Millisecond; v != behindSuperframe && !late {
			t.Fatalf("after %v: verdict %d %q", time.Since(began), v, word(v))
		} else if late {
			t.Skip("too slow a machine")
		}
		last = before // at the earliest
	}
	var value programsBehind
	var slot uint32
	for each := b.objects.Superframes.Iterate(); each.Next(&slot, &value); {
		if value.Superframe == 0 {
			continue
		}
		value.Superframe -= 10e9
		if err := b.objects.Superframes.Put(slot, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, v, _ := b.run(b.objects.VtepdTap, udp(1), nil); v != toPeer {
		t.Errorf("in the end: verdict %d %q", v, word(v))
	}
}

// TestBehindWithoutReader: what comes in on a device behind a superframe goes to its packet socket, and is carried where the process has died, and the filter
// with it.
func TestBehindWithoutReader(t *testing.T) {
	onOneCPU(t)
	b := newBench(t, func(o *Options, _ *Domain) { o.Alone = false })
	if err := b.PutPort(Port{Index: 0, Ifindex: loopback, Kind: Netdev, MaxFrame: 1464, Untagged: testVNI, Serial: 10, Filtered: true}); err != nil {
		t.Fatal(err)
	}
	udp := func(size int) []byte { return packet{proto: 17, l4: udpTo(7, size)}.frame(macB, macA) }
	send := func(data []byte, gso int, read bool) int {
		if read {
			b.run(b.objects.SlowOnly, asSocket(data), &skb{Ifindex: loopback, GSOSize: uint32(gso)})
		}
		_, v, _ := b.run(b.objects.VtepdDevice, data, &skb{Ifindex: loopback, GSOSize: uint32(gso)})
		return v
	}
	for _, c := range []struct {
		read bool
		gso  int
		want int
	}{{true, 0, toPeer}, {true, 1000, oddSuperframe}, {true, 0, behindSuperframe}, {false, 0, toPeer}, {false, 1000, oddSuperframe}, {false, 0, toPeer}} {
		data := udp(100)
		if c.gso > 0 {
			data = udp(3000)
		}
		if v := send(data, c.gso, c.read); v != c.want {
			t.Errorf("%+v: verdict %d %q, want %q", c, v, word(v), word(c.want))
		}
	}
}
