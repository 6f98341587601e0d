package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
	"vtepd/fdb"
)

// scene is a switch whose ports and peers are all in the test's hands: it puts frames into the TAPs and looks at what comes out of them, and it
// plays the remote VTEPs with a UDP socket each. The kernel sends nothing of its own accord on the ports, so that every frame counts.
//
//	  p0 ──┐                            ┌── remote 0  192.0.2.2    2001:db8::2
//	  p1 ──┤ switch ── eth0 ══ eth0 ────┼── remote 1  192.0.2.101  2001:db8::65
//	  p2 ──┘  192.0.2.1   (host wire)   └── remote 2  192.0.2.102  2001:db8::66
//	(ports as the test makes them)
type scene struct {
	*node
	l       *lab.Lab
	wire    *lab.Host
	link    *lab.Link
	remotes []*remote
	barrier *barrier
	kind    PortType  // what its ports are made of
	outside *lab.Host // where the other ends of its ports are; nil: ports have one end
	sniffed map[string]*lab.Sniffer
}

// newScene makes a scene with a number of remotes and no VNI and no port.
func newScene(t testing.TB, remotes int, change func(*Config)) *scene {
	t.Helper()
	return newSceneOf(t, sceneKind(t), nil, remotes, change)
}

// newSceneOf is newScene for a kind of ports. The link between switch and wire is shaped before the switch starts, unless shape is nil.
func newSceneOf(t testing.TB, kind PortType, shape func(*lab.Link), remotes int, change func(*Config)) *scene {
	t.Helper()
	l := lab.New(t)
	host, wire := l.Host("sw"), l.Host("wire")
	s := &scene{l: l, wire: wire, kind: kind, sniffed: make(map[string]*lab.Sniffer)}
	if s.kind != PortTAP {
		s.outside = l.Host("out")
		silence(t, s.outside)
	}
	s.link = l.Link(host, wire, lab.LinkOptions{})
	if shape != nil {
		shape(s.link)
	}
	silence(t, host)
	s.node = startNode(t, host, change)
	for i := range remotes {
		s.remotes = append(s.remotes, s.newRemote(i))
	}
	s.barrier = newBarrier(s)
	for _, r := range s.remotes {
		waitForRoute(t, s.node, r.addr)
	}
	// A link that has just come up loses what is sent for a moment, and a lost question for a neighbour's address is asked again only after a second.
	eventually(t, "the link carries packets", func() bool { return s.barrier.pass(t) })
	return s
}

// newScene6 is newScene over IPv6.
func newScene6(t testing.TB, remotes int, change func(*Config)) *scene {
	t.Helper()
	return newScene(t, remotes, func(c *Config) {
		c.Local = netip.MustParseAddr("2001:db8::1")
		if change != nil {
			change(c)
		}
	})
}

// silence keeps the kernel of a host from sending neighbour discovery and multicast reports on the devices made from now on.
func silence(t testing.TB, h *lab.Host) {
	t.Helper()
	if err := h.Sysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// addrs lists the addresses of remotes, all of them when none is named.
func (s *scene) addrs(which ...int) []netip.Addr {
	var list []netip.Addr
	for i, r := range s.remotes {
		if len(which) == 0 || slices.Contains(which, i) {
			list = append(list, r.addr)
		}
	}
	return list
}

// port adds an untagged port of a VNI and a sniffer on it.
func (s *scene) port(name string, vni uint32) {
	s.t.Helper()
	s.configuredPort(PortConfig{Name: name, Untagged: vni})
}

// configuredPort adds a port of the scene's kind and a sniffer on it.
func (s *scene) configuredPort(c PortConfig) {
	s.t.Helper()
	c = s.ofKind(c)
	s.do(func() error { return s.AddPort(c) })
	s.sniffed[c.Name] = s.Sniff(c.Name)
}

// set declares or changes a VNI.
func (s *scene) set(c VNIConfig, peers ...netip.Addr) {
	s.t.Helper()
	c.Peers = nil
	for _, p := range peers {
		c.Peers = append(c.Peers, netip.AddrPortFrom(p, 0))
	}
	s.do(func() error { return s.SetVNI(c) })
}

// rest waits until everything that was sent has arrived where it goes.
func (s *scene) rest() {
	s.t.Helper()
	s.barrier.pass(s.t)
	calm(3, s.node)
	s.barrier.pass(s.t)
}

// rest waits until the switches have done with everything that was sent, and for what the kernel may still have in hand.
func rest(nodes ...*node) { calm(20, nodes...) }

// calm waits until nothing waits in a queue or a socket, no worker is inside a batch and nothing more has come in, for a number of looks in a row.
func calm(looks int, nodes ...*node) {
	var last uint64
	for i := 0; i < looks; time.Sleep(4 * time.Millisecond) {
		var now uint64
		busy := false
		for _, n := range nodes {
			busy = busy || n.busy()
			now += n.Totals().Received
		}
		if busy || now != last {
			i = 0
		}
		last = now
		i++
	}
}

// busy says whether a worker is inside a batch or has something to read.
func (n *node) busy() bool {
	var waiting []unix.PollFd
	for _, w := range n.workers {
		for _, r := range w.rx {
			waiting = append(waiting, unix.PollFd{Fd: int32(r.FD()), Events: unix.POLLIN})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.groups {
		if g.joined != nil {
			waiting = append(waiting, unix.PollFd{Fd: int32(g.joined.receiver.FD()), Events: unix.POLLIN})
		}
	}
	for _, r := range n.ports {
		if l := r.published.link; l != nil && r.state == PortUp {
			for i := range l.dev.Queues() {
				waiting = append(waiting, unix.PollFd{Fd: int32(l.fd(i)), Events: unix.POLLIN})
			}
		}
	}
	if _, err := unix.Poll(waiting, 0); err != nil {
		return true
	}
	for _, p := range waiting {
		if p.Revents&(unix.POLLIN|unix.POLLERR) == unix.POLLIN {
			return true
		}
	}
	for _, w := range n.workers {
		if w.inside.Load() != outside {
			return true
		}
	}
	return false
}

// seen takes what came out of a port since the last look.
func (s *scene) seen(port string) [][]byte {
	s.t.Helper()
	var list [][]byte
	sniffer := s.sniffed[port]
	if sniffer == nil {
		s.t.Fatalf("port %s has no sniffer", port)
	}
	// A deadline that passes before the read begins says nothing about the buffer: on a busy machine only two empty looks are believed that ended in time.
	const look = 2 * time.Millisecond
	for empty, late := 0, 0; empty < 2 && late < 500; {
		began := time.Now()
		f, ok := sniffer.Next(look)
		if !ok {
			if time.Since(began) < look+look/2 {
				empty++
			} else {
				late++
			}
			continue
		}
		empty = 0
		list = append(list, f.Data)
	}
	if lost, err := sniffer.Lost(); err != nil || lost > 0 {
		s.t.Fatalf("sniffer on %s lost %d frames: %v", port, lost, err)
	}
	return list
}

// forget throws away what ports and remotes got so far.
func (s *scene) forget() {
	s.t.Helper()
	s.rest()
	for p := range s.sniffed {
		s.seen(p)
	}
	for _, r := range s.remotes {
		r.received()
	}
}

// counts says how many frames each port and each remote got since the last look, as "p1:10 r0:10": nought is left out.
func (s *scene) counts() string {
	s.t.Helper()
	s.rest()
	var words []string
	for p := range s.sniffed {
		if n := len(s.seen(p)); n > 0 {
			words = append(words, fmt.Sprintf("%s:%d", p, n))
		}
	}
	for i, r := range s.remotes {
		if n := len(r.received()); n > 0 {
			words = append(words, fmt.Sprintf("r%d:%d", i, n))
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// dropped sums the drops of a reason.
func (n *node) dropped(r Reason) uint64 {
	var sum uint64
	for _, d := range n.Drops() {
		if d.Reason == r {
			sum += d.Count
		}
	}
	return sum
}

// drops calls f, waits, and wants exactly the given drops of a reason to have come of it, and no others.
func (s *scene) drops(want uint64, reason Reason, f func()) {
	s.t.Helper()
	s.rest()
	before, all := s.dropped(reason), s.Totals().Dropped
	f()
	s.rest()
	if got := s.dropped(reason) - before; got != want {
		s.t.Errorf("%d frames dropped for %s, want %d; ledger: %v", got, reason, want, s.Drops())
	}
	if got := s.Totals().Dropped - all; got != want {
		s.t.Errorf("%d frames dropped in all, want %d; ledger: %v", got, want, s.Drops())
	}
	s.balance()
}

// entry finds a forwarding entry, or fails.
func (s *scene) entry(vni uint32, mac uint64) FDBEntry {
	s.t.Helper()
	e, err := s.FDBGet(vni, fdb.MAC(mac))
	if err != nil {
		s.t.Fatalf("fdb get: %v", err)
	}
	return e
}

// known says whether there is a forwarding entry.
func (s *scene) known(vni uint32, mac uint64) bool {
	_, err := s.FDBGet(vni, fdb.MAC(mac))
	return err == nil
}

// remote is a remote VTEP of which the test is the mind: a UDP socket on the VXLAN port.
type remote struct {
	t    testing.TB
	addr netip.Addr
	sw   netip.AddrPort // where the switch listens
	conn *net.UDPConn
	buf  []byte
}

func (s *scene) newRemote(i int) *remote {
	s.t.Helper()
	return s.newRemoteOf(s.config.Local, i)
}

// newRemoteOf is newRemote for one of the switch's addresses.
func (s *scene) newRemoteOf(local netip.Addr, i int) *remote {
	s.t.Helper()
	addr, bits := s.wire.Underlay4(), 24
	if local.Is6() {
		addr, bits = s.wire.Underlay6(), 64
	}
	if i > 0 {
		b := addr.AsSlice()
		b[len(b)-1] = byte(100 + i)
		addr, _ = netip.AddrFromSlice(b)
		s.wire.Addr(s.link.B.Name, netip.PrefixFrom(addr, bits))
	}
	r := &remote{t: s.t, addr: addr, sw: netip.AddrPortFrom(local, s.config.DstPort), buf: make([]byte, 1<<16)}
	err := s.wire.Do(func() (err error) {
		r.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, s.config.DstPort)))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.conn.Close() })
	r.option(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	r.option(unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20)
	return r
}

// option sets a socket option of the remote.
func (r *remote) option(level, option, value int) {
	r.t.Helper()
	raw, err := r.conn.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) })
		err = errors.Join(err, controlErr)
	}
	if err != nil {
		r.t.Fatalf("setsockopt %d %d %d: %v", level, option, value, err)
	}
}

// tos sets the outer TOS or traffic class of what the remote sends.
func (r *remote) tos(tos uint8) {
	r.t.Helper()
	if r.addr.Is4() {
		r.option(unix.SOL_IP, unix.IP_TOS, int(tos))
	} else {
		r.option(unix.SOL_IPV6, unix.IPV6_TCLASS, int(tos))
	}
}

// send encapsulates frames for a VNI and sends them.
func (r *remote) send(vni uint32, frames ...[]byte) {
	r.t.Helper()
	for _, f := range frames {
		r.sendRaw(datagramOf(vni, f))
	}
}

// sendRaw sends one UDP payload as it is.
func (r *remote) sendRaw(payload []byte) {
	r.t.Helper()
	// An ICMP error of an earlier datagram may be reported here; the next try is for this one.
	_, err := r.conn.WriteToUDPAddrPort(payload, r.sw)
	if err != nil {
		_, err = r.conn.WriteToUDPAddrPort(payload, r.sw)
	}
	if err != nil {
		r.t.Fatalf("send %d bytes: %v", len(payload), err)
	}
}

// datagramOf is a VXLAN header with the frame behind it.
func datagramOf(vni uint32, frame []byte) []byte {
	d := make([]byte, encap.VXLANLen, encap.VXLANLen+len(frame))
	encap.PutVXLAN(d, vni)
	return append(d, frame...)
}

// arrival is a datagram that reached a remote.
type arrival struct {
	vni    uint32
	frame  []byte
	source netip.AddrPort
}

// received takes what reached the remote since the last look.
func (r *remote) received() []arrival {
	r.t.Helper()
	var list []arrival
	for {
		n, from, err := r.read()
		if err == unix.EAGAIN {
			return list
		}
		if err != nil {
			continue // an ICMP error of something sent
		}
		if n < encap.VXLANLen || binary.BigEndian.Uint32(r.buf) != 0x08000000 || r.buf[7] != 0 {
			r.t.Errorf("remote %s got %d bytes that are no VXLAN datagram as RFC 7348 section 5 wants it: % x", r.addr, n, r.buf[:min(n, encap.VXLANLen)])
			continue
		}
		list = append(list, arrival{encap.VXLAN(r.buf).VNI(), slices.Clone(r.buf[encap.VXLANLen:n]), from})
	}
}

// read takes one datagram and does not wait: a deadline would depend on the scheduler.
func (r *remote) read() (n int, from netip.AddrPort, err error) {
	raw, controlErr := r.conn.SyscallConn()
	if controlErr != nil {
		r.t.Fatal(controlErr)
	}
	var sender unix.Sockaddr
	if controlErr = raw.Control(func(fd uintptr) { n, sender, err = unix.Recvfrom(int(fd), r.buf, unix.MSG_DONTWAIT) }); controlErr != nil {
		r.t.Fatal(controlErr)
	}
	switch a := sender.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return n, from, err
}

// station is the MAC of the test's n-th station.
func station(n int) uint64 { return 0x02_00_00_00_20_00 + uint64(n) }

// broadcast is the all-ones address.
const broadcast = 0xffffffffffff

// frameOf is a small UDP frame between two MACs.
func frameOf(src, dst uint64) []byte {
	return encaptest.Packet{SrcMAC: src, DstMAC: dst, Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000, Payload: encaptest.Payload(40, src)}.Frame()
}

// times repeats a frame.
func times(n int, frame []byte) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = frame
	}
	return list
}

// putTag puts a tag in front of a frame's EtherType.
func putTag(frame []byte, tpid, tci uint16) []byte {
	out := slices.Clone(frame[:12])
	out = binary.BigEndian.AppendUint16(out, tpid)
	out = binary.BigEndian.AppendUint16(out, tci)
	return append(out, frame[12:]...)
}

// eventually polls a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(lab.Patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", lab.Patience, what)
		}
	}
}

// settleFrame waits until a frame has been carried and what it taught is known everywhere.
func (s *scene) settleFrame() {
	for i := 0; i < 2; i++ {
		for s.busy() {
			time.Sleep(200 * time.Microsecond)
		}
		time.Sleep(300 * time.Microsecond)
	}
	s.fast.catchUp()
}
