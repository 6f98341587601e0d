package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

func TestPacketReason(t *testing.T) {
	for err, want := range map[unix.Errno]Reason{
		unix.EINVAL: BadOffload, unix.EMSGSIZE: TooBig, unix.ENETDOWN: PortDown, unix.ENXIO: PortGone, unix.ENODEV: PortGone, unix.EBADF: PortGone,
		unix.ENOBUFS: PortBusy, unix.EAGAIN: PortBusy, unix.ENOMEM: PortBusy, unix.EPERM: PortRefused,
	} {
		if got := packetReason(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

// A superframe whose header speaks of something else than its own transport is dropped, and the rest of its kind is not.
func TestGuardOffload(t *testing.T) {
	tcp, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoTCP, Payload: encaptest.Payload(5000, 1)}.Superframe(1000)
	udp, udpOff := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, Payload: encaptest.Payload(5000, 1)}.Superframe(1000)
	inside := off
	inside.CsumStart += 50 // a tunnel's outer headers
	plain := encaptest.Packet{SrcMAC: station(1), DstMAC: station(2), Proto: encap.ProtoUDP, Payload: encaptest.Payload(500, 1)}.Frame()
	in := func(o encap.Offload, start, offset uint16) encap.Offload {
		o.CsumStart, o.CsumOffset = start, offset
		return o
	}
	for _, c := range []struct {
		name  string
		frame []byte
		off   encap.Offload
		want  Reason
	}{
		{"TCP", tcp, off, ReasonNone},
		{"UDP", udp, udpOff, ReasonNone},
		{"no superframe", udp, encap.Offload{}, ReasonNone},
		{"TCP inside UDP", udp, inside, BadOffload},
		{"TCP's header on UDP", udp, off, BadOffload},
		{"UDP's header on TCP", tcp, udpOff, BadOffload},
		{"checksum elsewhere", tcp, inside, BadOffload},
		{"checksum in another's place", tcp, in(off, off.CsumStart, 2), BadOffload},
		{"checksum to finish", plain, in(encap.Offload{Flags: encap.FlagNeedsCsum}, udpOff.CsumStart, encap.UDPChecksumOffset), ReasonNone},
		{"the port instead", plain, in(encap.Offload{Flags: encap.FlagNeedsCsum}, udpOff.CsumStart, 2), BadOffload},
	} {
		var f frame
		f.reset(c.frame, 0, c.off)
		if got := guardOffload(&f); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What the kernel refuses when a batch is flushed is taken back: each frame is dropped once, with the right reason, and counted as sent nowhere; copies
// that left are not touched.
//
//	p0 (TAP) ──┐
//	nic0, web0─┤ switch ════ r0
func TestRefusedAtTheFlush(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1, nil)
	out := s.l.Host("out")
	silence(t, out)
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute}, s.addrs()...)
	s.port("p0", 42)
	ends := map[string]string{"nic0": s.Name(), "web0": out.Name()}
	for name, kind := range map[string]PortType{"nic0": PortNetdev, "web0": PortVeth} {
		c := s.node.ofKind(kind, out, PortConfig{Name: name, Untagged: 42})
		s.do(func() error { return s.AddPort(c) })
		s.sniffed[name] = out.Sniff(name)
	}
	out.Inject("nic0", frameOf(station(7), broadcast))
	out.Inject("web0", frameOf(station(8), broadcast))
	s.remotes[0].send(42, frameOf(station(5), broadcast))
	s.Inject("p0", frameOf(station(1), broadcast))
	for mac, port := range map[uint64]string{station(7): "nic0", station(8): "web0"} {
		s.do(func() error { // what is learned goes with a port that goes down
			return s.FDBPut(FDBEntry{VNI: 42, MAC: fdb.MAC(mac), Port: port, State: fdb.Static}, fdb.Replace)
		})
	}
	s.forget()
	stats := func(port string) Counters {
		for _, p := range s.PortStats() {
			if p.Port == port {
				return p.Counters
			}
		}
		t.Fatalf("no port %s", port)
		return Counters{}
	}
	joined := func(to uint64) (frames [][]byte) {
		for i := range 10 {
			frames = append(frames, encaptest.Packet{
				SrcMAC: station(5), DstMAC: to, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Seq: uint32(1000 * i), ID: uint16(i), Payload: encaptest.Payload(1000, 1),
			}.Frame())
		}
		return frames
	}
	super := func(to uint64) ([encap.OffloadLen]byte, []byte) {
		f, off := encaptest.Packet{SrcMAC: station(1), DstMAC: to, Proto: encap.ProtoTCP, Payload: encaptest.Payload(9500, 1)}.Superframe(1000)
		return encodeOffload(off), f
	}
	for _, c := range []struct {
		port   string
		at     uint64
		reason Reason
	}{{"nic0", station(7), PortDown}, {"web0", station(8), PortDown}} {
		s.Must("ip", "-n", ends[c.port], "link", "set", c.port, "down")
		eventually(t, c.port+" is down", func() bool { return s.portInfo(c.port).State == PortIsDown })
		// nic0 is told by the kernel itself: the socket's own error, at the flush.
		s.ports[c.port].published.link.down.Store(c.port != "nic0")
		before := stats(c.port)
		s.drops(5, c.reason, func() { s.Inject("p0", times(5, frameOf(station(1), c.at))...) })
		s.drops(10, c.reason, func() {
			h, f := super(c.at)
			s.InjectSuperframe("p0", h, f)
		})
		s.drops(10, c.reason, func() { s.remotes[0].send(42, joined(c.at)...) })
		// A flood reaches the others, and is no drop.
		s.drops(0, c.reason, func() { s.Inject("p0", times(3, frameOf(station(1), broadcast))...) })
		after := stats(c.port)
		if after.TxPackets != before.TxPackets || after.TxBytes != before.TxBytes || after.TxDropped-before.TxDropped != 28 {
			t.Errorf("%s: counters before %+v, after %+v: want 28 more dropped and nothing sent", c.port, before, after)
		}
		s.Must("ip", "-n", ends[c.port], "link", "set", c.port, "up")
		eventually(t, c.port+" is up", func() bool { return s.portInfo(c.port).State == PortUp })
		s.forget()
		s.Inject("p0", times(5, frameOf(station(1), c.at))...)
		if got, want := s.counts(), c.port+":5"; got != want {
			t.Errorf("up again: %q, want %q", got, want)
		}
	}
	s.balance()
}

// A workload that tunnels behind a veth that somebody else made, with offloads that a virtio-net header cannot tell: what cannot be carried is dropped for
// what it is, and with those offloads off, as the documentation says, all is carried.
func TestTunnelInsideNetdev(t *testing.T) {
	t.Parallel()
	s := newScene(t, 0, func(c *Config) { c.FastPath = FastPathOff }) // which takes what no virtio-net header can tell
	s.set(VNIConfig{VNI: 42, Learning: true, Ageing: time.Minute})
	a := s.packetPort(s.l, PortNetdev, "a0", 42, 1500, nil)
	b := s.packetPort(s.l, PortNetdev, "b0", 42, 1500, nil)
	inner := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	a.Must("ip", "link", "add", "vxlan7", "type", "vxlan", "id", "7", "local", a.Overlay4().String(), "remote", b.Overlay4().String(), "dstport", "8472")
	b.Must("ip", "link", "add", "vxlan7", "type", "vxlan", "id", "7", "local", b.Overlay4().String(), "remote", a.Overlay4().String(), "dstport", "8472")
	a.Addr("vxlan7", netip.PrefixFrom(inner[0], 24))
	b.Addr("vxlan7", netip.PrefixFrom(inner[1], 24))
	newPinger(t, a, inner[1]).ping(1000)

	server, err := b.Start("iperf3", "-s")
	if err != nil {
		t.Skipf("needs iperf3: %v", err)
	}
	defer server.Stop()
	eventually(t, "tunnelled superframes are dropped for bad_offload", func() bool {
		_, _ = a.Command("timeout", "4", "iperf3", "-c", inner[1].String(), "-t", "1")
		return s.dropped(BadOffload) > 0
	})
	if n := s.dropped(PortBusy); n > 0 {
		t.Errorf("%d frames dropped for %s", n, PortBusy)
	}
	for _, h := range [][]string{{a.Name()}, {b.Name()}} {
		s.Must("ip", "netns", "exec", h[0], "ethtool", "-K", "eth0", "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off")
	}
	transfer(t, a, b, inner[1], 5<<20)
	s.rest()
	s.balance()
}
