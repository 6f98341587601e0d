package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/ctl/api"
	"vtepd/ctl/client"
)

const (
	// vxlanPort is the port IANA assigned to VXLAN (RFC 7348 section 8).
	vxlanPort = 4789
	// learnChunk is how many frames are sent before vtepd is asked whether it has learned from them: no more than its receive buffer holds.
	learnChunk = 64 * batchSize
	// learnPatience is how long it may take for a chunk before the chunk is sent again.
	learnPatience = 100 * time.Millisecond
	// learnTries bounds how often a chunk is sent.
	learnTries = 50
	// apiEntries and apiConnections measure the control API.
	apiEntries, apiConnections = 20_000, 4
	// restTime is how long a vtepd rests before its memory is looked at.
	restTime = 2 * time.Second
)

var errLearn = errors.New("MACs not learned")

// manyMACs fills the forwarding tables of both hosts between two TCP runs.
func (p Programs) manyMACs(l *lab.Lab, d time.Duration, record func(string, float64)) error {
	a, b, _ := underlay(l, Wire)
	var daemons [2]*Daemon
	for i, side := range [][2]*lab.Host{{a, b}, {b, a}} {
		here, there := side[0], side[1]
		config := fmt.Sprintf("max-macs: %d\n", 2*scaleManyMACs) + OverlayConfig(here.Underlay4(), there.Underlay4(), TAPPort(here.OverlayPrefixes()))
		var err error
		if daemons[i], err = StartVtepd(l, here, p.Vtepd, config); err != nil {
			return err
		}
	}
	from, to := Site{Host: a, Addr: a.Overlay4()}, Site{Host: b, Addr: b.Overlay4()}
	if err := WaitReady(from, to); err != nil {
		return err
	}
	for _, step := range []struct {
		entries int
		figure  string
	}{{scaleFewMACs, "macs-few"}, {scaleManyMACs, "macs-tcp"}} {
		began := time.Now()
		if err := errors.Join(fillTable(daemons[0], b, a, step.entries), fillTable(daemons[1], a, b, step.entries)); err != nil {
			return err
		}
		if step.entries == scaleManyMACs {
			record("macs-load", time.Since(began).Seconds()/2)
		}
		if err := streams(from, to, d, step.figure, record); err != nil {
			return err
		}
	}
	rss, err := residentBytes(daemons[0].PID())
	if err != nil {
		return err
	}
	record("macs-rss", rss/1e6)
	rate, err := apiRate(daemons[0], b.Underlay4())
	if err != nil {
		return err
	}
	record("macs-api", rate)
	return nil
}

// streams measures TCP over one connection, scaleRuns times.
func streams(from, to Site, d time.Duration, figure string, record func(string, float64)) error {
	for range scaleRuns {
		t, err := TCP(from, to, 1, d)
		if err != nil {
			return err
		}
		record(figure, t.Gbps)
	}
	return nil
}

// fillTable sends frames in VXLAN from the peer's address until the vtepd at to has so many dynamic entries.
func fillTable(d *Daemon, from, to *lab.Host, entries int) error {
	fd, err := socket(from, netip.AddrPortFrom(from.Underlay4(), 0), netip.AddrPortFrom(to.Underlay4(), vxlanPort))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	c := client.New(d.Socket)
	defer c.Close()
	known := func() (int, error) {
		st, err := c.Status(context.Background())
		return st.FDB.Dynamic, err
	}
	b := newBatch(learnedLen)
	have, err := known()
	if err != nil {
		return err
	}
	for have < entries {
		chunk := min(learnChunk, (entries-have+batchSize-1)/batchSize*batchSize)
		for try := 0; ; try++ {
			if try == learnTries {
				return fmt.Errorf("%w: %d of %d after %d tries", errLearn, have, entries, try)
			}
			for i := 0; i < chunk; i += batchSize {
				for j := range batchSize {
					learnedFrame(b.slot(j), min(have+i+j, entries-1))
				}
				if _, err := b.send(fd); err != nil && !retryable(err) {
					return fmt.Errorf("sendmmsg: %w", err)
				}
			}
			want := min(have+chunk, entries)
			now := 0
			for end := time.Now().Add(learnPatience); time.Now().Before(end); {
				if now, err = known(); err != nil {
					return err
				}
				if now >= want {
					break
				}
			}
			if now >= want {
				have = want
				break
			}
		}
	}
	return nil
}

// learnedLen is the length of a VXLAN header and the shortest Ethernet frame without FCS, in bytes.
const learnedLen = 8 + 60

// learnedFrame writes the n-th frame to learn from (RFC 7348 section 5). It is addressed to its own source, which is behind the peer that it comes from: vtepd learns, and
// has nothing to forward.
func learnedFrame(f []byte, n int) {
	mac := 0x02_00_01_00_00_00 + uint64(n)
	binary.BigEndian.PutUint64(f, 0x0800_0000<<32|benchVNI<<8)
	// Each address ends with two bytes that the next line overwrites.
	binary.BigEndian.PutUint64(f[8:], mac<<16)
	binary.BigEndian.PutUint64(f[14:], mac<<16)
	binary.BigEndian.PutUint16(f[20:], 0x88b5) // for local experiments (IEEE 802)
}

// apiRate makes forwarding entries by requests of their own, several at a time.
func apiRate(d *Daemon, dst netip.Addr) (entriesPerSecond float64, err error) {
	c := client.New(d.Socket)
	defer c.Close()
	errs := make([]error, apiConnections)
	began := time.Now()
	var workers sync.WaitGroup
	for w := range apiConnections {
		workers.Go(func() {
			for i := w; i < apiEntries && errs[w] == nil; i += apiConnections {
				mac := fmt.Sprintf("06:00:00:%02x:%02x:%02x", i>>16, i>>8&0xff, i&0xff)
				errs[w] = c.AddFDB(context.Background(), api.FDBSpec{MAC: mac, VNI: benchVNI, Dst: dst.String(), State: "dynamic"})
			}
		})
	}
	workers.Wait()
	return apiEntries / time.Since(began).Seconds(), errors.Join(errs...)
}

// manyPorts measures two local TAPs of a vtepd beside 198 that nobody has, gives it those too, all in one VNI, and measures again. The kernel alone takes a fifth off
// for so many devices, which is not the switch's.
func (p Programs) manyPorts(l *lab.Lab, d time.Duration, record func(string, float64)) error {
	h, a, b := l.Host("h"), l.Host("wa"), l.Host("wb")
	h.Addr("lo", netip.PrefixFrom(h.Underlay4(), 32))
	// Otherwise each new interface reports its multicast groups, several times within seconds, to all the others.
	if err := h.Sysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil && !os.IsNotExist(err) {
		return err
	}
	var idle []string
	var commands strings.Builder
	for i := 2; i < scalePorts; i++ {
		name := fmt.Sprintf("tap%d", i)
		idle = append(idle, name)
		fmt.Fprintf(&commands, "tuntap add name %s mode tap multi_queue\nlink set %[1]s up\n", name)
	}
	dir, err := l.TempDir()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "commands")
	if err := os.WriteFile(file, []byte(commands.String()), 0o600); err != nil {
		return err
	}
	if _, err := h.Command("ip", "-batch", file); err != nil {
		return err
	}
	daemon, err := StartVtepd(l, h, p.Vtepd, localConfig(fastOff, h.Underlay4(), localTAP(0, a), localTAP(1, b)))
	if err != nil {
		return err
	}
	from, to := Site{Host: a, Addr: a.Overlay4()}, Site{Host: b, Addr: b.Overlay4()}
	if err := WaitReady(from, to); err != nil {
		return err
	}
	if err := streams(from, to, d, "ports-two", record); err != nil {
		return err
	}
	c := client.New(daemon.Socket)
	defer c.Close()
	for _, name := range idle {
		spec := api.PortSpec{Port: name}
		if err := spec.VNI.UnmarshalJSON(fmt.Append(nil, benchVNI)); err != nil {
			return err
		}
		if err := c.AddPort(context.Background(), spec); err != nil {
			return err
		}
	}
	return streams(from, to, d, "ports-tcp", record)
}

// manyPeers floods from a second TAP of host a to host b, and to a thousand peers that one more host stands for:
//
//	flooder ── tap1 ┐
//	      a ── vtep0 ┴ vtepd ── eth0 ── b: vtepd, TCP to a
//	                         └─ eth1 ── sink: 250 addresses, 4 UDP ports each, every datagram dropped at its socket
func (p Programs) manyPeers(l *lab.Lab, d time.Duration, record func(string, float64)) error {
	a, b, _ := underlay(l, Wire)
	sink, flooder := l.Host("sink"), l.Host("flooder")
	link := l.Link(a, sink, lab.LinkOptions{Addressing: lab.Bare})
	// Only datagrams cross: the interface's counter counts them.
	link.OffloadsOff()
	a.Addr(link.A.Name, netip.MustParsePrefix("203.0.113.254/24"))
	if _, err := sink.Command("ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo"); err != nil {
		return err
	}
	peers := []string{b.Underlay4().String()}
	const ports = 4
	for port := vxlanPort; port < vxlanPort+ports; port++ {
		fd, err := socket(sink, netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)), netip.AddrPort{})
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := dropAll(fd); err != nil {
			return err
		}
		for n := 1; n <= scalePeers/ports; n++ {
			peers = append(peers, fmt.Sprintf("\"203.0.113.%d:%d\"", n, port))
		}
	}
	config := strings.Replace(OverlayConfig(a.Underlay4(), b.Underlay4(), TAPPort(a.OverlayPrefixes()), localTAP(1, flooder)),
		fmt.Sprintf("peers: [%v]", b.Underlay4()), "peers: ["+strings.Join(peers, ", ")+"]", 1)
	daemon, err := StartVtepd(l, a, p.Vtepd, config)
	if err != nil {
		return err
	}
	if _, err := StartVtepd(l, b, p.Vtepd, OverlayConfig(b.Underlay4(), a.Underlay4(), TAPPort(b.OverlayPrefixes()))); err != nil {
		return err
	}
	from, to := Site{Host: a, Addr: a.Overlay4()}, Site{Host: b, Addr: b.Overlay4()}
	if err := WaitReady(from, to); err != nil {
		return err
	}
	if err := streams(from, to, d, "peers-alone", record); err != nil {
		return err
	}
	stop, err := broadcast(flooder, scaleBroadcasts)
	if err != nil {
		return err
	}
	err = streams(from, to, d, "peers-tcp", record)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}

	// More than one processor can copy: the queue of the TAP is never empty.
	if stop, err = broadcast(flooder, 5000); err != nil {
		return err
	}
	copies, seconds, err := countCopies(daemon.PID(), link.B, d)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	record("peers-copies", copies/d.Seconds()/1e3)
	record("peers-cost", seconds/copies*1e9)
	return nil
}

// countCopies watches an interface and the processor time of a process for d.
func countCopies(pid int, end lab.End, d time.Duration) (copies, seconds float64, err error) {
	time.Sleep(settleTime)
	var packets [2]uint64
	var used [2]float64
	for i := range 2 {
		stat, err := end.Stat()
		if err != nil {
			return 0, 0, err
		}
		packets[i] = stat.RxPackets
		if used[i], err = processSeconds(pid); err != nil {
			return 0, 0, err
		}
		if i == 0 {
			time.Sleep(d)
		}
	}
	if packets[0] == packets[1] {
		return 0, 0, errors.New("no copy of a broadcast reached the peers")
	}
	return float64(packets[1] - packets[0]), used[1] - used[0], nil
}

// broadcast sends datagrams of 64 bytes to the subnet's broadcast address, so many a second, until stop is called.
func broadcast(h *lab.Host, perSecond int) (stop func() error, err error) {
	target := netip.MustParseAddrPort("198.51.100.255:9") // discard (RFC 863)
	fd, err := socket(h, netip.AddrPortFrom(h.Overlay4(), 0), netip.AddrPort{})
	if err == nil {
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1), unix.Connect(fd, sockaddr(target)))
	}
	if err != nil {
		return nil, err
	}
	var over atomic.Bool
	result := make(chan error, 1)
	go func() {
		payload := make([]byte, loadPayload)
		began := time.Now()
		for sent := 0; !over.Load(); time.Sleep(time.Millisecond) {
			for due := int(time.Since(began).Seconds() * float64(perSecond)); sent < due; sent++ {
				if _, err := unix.Write(fd, payload); err != nil && !retryable(err) {
					result <- fmt.Errorf("broadcast: %w", err)
					return
				}
			}
		}
		result <- nil
	}()
	return func() error {
		over.Store(true)
		err := <-result
		return errors.Join(err, unix.Close(fd))
	}, nil
}

// dropAll has the kernel throw away what arrives at a socket, as cheaply as it can without answering that nobody is there: a classic BPF program of one
// instruction, "accept 0 bytes".
func dropAll(fd int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &program[0]})
}

// atRest looks at the memory of a vtepd with ten ports and no traffic.
func (p Programs) atRest(l *lab.Lab, _ time.Duration, record func(string, float64)) error {
	a, b, _ := underlay(l, Veth)
	ports := []string{TAPPort(a.OverlayPrefixes())}
	for i := 1; i < scaleRestPorts; i++ {
		ports = append(ports, fmt.Sprintf("- {name: tap%d, type: tap, vni: %d}", i, benchVNI))
	}
	d, err := StartVtepd(l, a, p.Vtepd, OverlayConfig(a.Underlay4(), b.Underlay4(), ports...))
	if err != nil {
		return err
	}
	time.Sleep(restTime)
	rss, err := residentBytes(d.PID())
	if err != nil {
		return err
	}
	record("rest-rss", rss/1e6)
	return nil
}
