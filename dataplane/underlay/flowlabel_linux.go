package underlay

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The label bits of a lane's key. Every socket has eight labels, so that the
// datagrams of very many flows still share messages: with a label for each flow
// every datagram of a flow of its own would be a message of its own.
const (
	keyLabelShift = 17
	keyLabelMask  = 7 << keyLabelShift
	labelsASocket = 8
)

// ipv6FlowInfo is IPV6_FLOWINFO of include/uapi/linux/in6.h, which x/sys does not
// name.
const ipv6FlowInfo = 11

const (
	// statelessLabel is the highest of the 20 bits of a label (RFC 8200 section 6)
	// and marks labels that nobody leased: Linux keeps the others for
	// its flow label manager (net.ipv6.flowlabel_state_ranges, ip-sysctl.rst).
	statelessLabel = 1 << 19
)

// flowLabels are the IPv6 flow labels of a pool of sockets (RFC 6437, RFC 6438):
// routers may choose among equal paths by label and addresses alone, without
// looking for UDP ports. The zero value has none, and leaves it to the kernel,
// which gives each socket one.
type flowLabels struct {
	on atomic.Bool
	// Labels are affine in socket and label bits, so that no two are the same, and
	// drawn at start, so that nobody can guess them.
	factor, offset uint32
	reason         string // why they are off; under Sockets.mu once they were on
}

// choose draws the labels and asks the kernel whether it takes them.
func (f *flowLabels) choose(fd int, local netip.Addr, port uint16) {
	f.factor, f.offset = rand.Uint32()|1, rand.Uint32()
	if err := probeFlowLabel(fd, local, port, f.of(0)); err != nil {
		f.reason = fmt.Sprintf("IPV6_FLOWINFO: %v", err)
		return
	}
	f.on.Store(true)
}

// label is that of a lane; 0 leaves it to the kernel, which takes a hash of
// addresses and ports: one label for each socket.
func (f *flowLabels) label(key uint32) uint32 {
	if !f.on.Load() {
		return 0
	}
	return f.of(key>>20*labelsASocket + key&keyLabelMask>>keyLabelShift)
}

func (f *flowLabels) of(index uint32) uint32 {
	return statelessLabel | (index*f.factor+f.offset)&(statelessLabel-1)
}

// putFlowLabel writes the IPV6_FLOWINFO entry: 32 bits in network order, of which
// the kernel takes the label alone when there is an IPV6_TCLASS beside.
func putFlowLabel(b []byte, label uint32) int {
	n := putCmsg(b, unix.SOL_IPV6, ipv6FlowInfo, 4)
	binary.BigEndian.PutUint32(b[cmsgHeader:], label)
	return n
}

// probeFlowLabel sends one byte to a transmit socket of this host, whose filter
// drops it; it does not get beyond the loopback device. Before Linux 5.3 the
// kernel took leased labels only, and still does while any program of the network
// namespace has an exclusive lease.
func probeFlowLabel(fd int, local netip.Addr, port uint16, label uint32) error {
	var control [cmsgSlot]byte
	putFlowLabel(control[:], label)
	scope, _ := scopeID(local)
	to := &unix.SockaddrInet6{Port: int(port), Addr: local.As16(), ZoneId: scope}
	_, err := unix.SendmsgN(fd, []byte{0}, control[:], to, unix.MSG_DONTWAIT)
	if err == unix.EINVAL {
		return fmt.Errorf("the kernel wants labels to be leased: %w", err)
	}
	return nil // whatever else there is, it is not about the label
}

// withoutLabels looks whether EINVAL was about the label: somebody has leased one
// exclusively since the start. Labels are off then for good, and it says that the
// message is to be built anew.
func (t *Transmitter) withoutLabels(fd int, p *part, errno unix.Errno, cur *cursor) bool {
	f := &t.s.labels
	if errno != unix.EINVAL || !f.on.Load() {
		return false
	}
	err := probeFlowLabel(fd, t.s.cfg.Local, t.s.checked.ports[0], f.of(0))
	if err == nil {
		return false
	}
	*cur = cursor{lane: p.lane, datagram: p.first}
	if !f.on.CompareAndSwap(true, false) {
		return true
	}
	d := Degradation{What: "flow-label", Dest: t.lanes[p.lane].dest.addr, Errno: errno, Reason: fmt.Sprintf("IPV6_FLOWINFO: %v", err)}
	t.s.mu.Lock()
	f.reason = d.Reason
	t.s.mu.Unlock()
	select {
	case t.s.degraded <- d:
	default:
	}
	return true
}
