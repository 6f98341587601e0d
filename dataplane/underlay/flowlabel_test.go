package underlay

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// labelsOf assembles what is queued for one socket and gives the labels of its messages, 0 where there is none.
func labelsOf(t *testing.T, tx *Transmitter, socket int32) (labels []uint32) {
	t.Helper()
	head := tx.heads[socket]
	var cur cursor
	tx.enter(&cur, head.first)
	for range tx.assemble(&cur) {
		h := &tx.out.headers[len(labels)].hdr
		labels = append(labels, 0)
		for b := unsafe.Slice(h.Control, int(h.Controllen)); len(b) >= cmsgHeader; {
			c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
			if c.Level == unix.SOL_IPV6 && c.Type == ipv6FlowInfo {
				labels[len(labels)-1] = binary.BigEndian.Uint32(b[cmsgHeader:])
			}
			b = b[min((int(c.Len)+cmsgWord-1)&^(cmsgWord-1), len(b)):]
		}
	}
	return labels
}

// Equal hashes have one label, whatever the Transmitter; unequal ones soon differ, also on one socket. IPv4 has none.
func TestFlowLabels(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(familyName(v6), func(t *testing.T) {
			l := newLab(t)
			a, b := l.pair(v6, func(c *Config) { c.FlowLabels = true })
			if got := a.Caps().FlowLabel; got != v6 {
				t.Fatalf("flow labels %t (%s), want %t", got, a.Caps().FlowLabelReason, v6)
			}
			to := NewDest(b.Local())
			byHash := map[uint32]string{}
			all := map[string]bool{}
			for _, tx := range []*Transmitter{a.NewTransmitter(), a.NewTransmitter()} {
				for hash := range uint32(400) {
					tx.Queue(to, Class{TOS: 4}, hash, payload(100, 1), nil, 0)
					labels := labelsOf(t, tx, tx.order[0])
					if len(labels) != 1 || (labels[0] != 0) != v6 || labels[0]>>20 != 0 || v6 && labels[0]&statelessLabel == 0 {
						t.Fatalf("labels %x", labels)
					}
					at := fmt.Sprintf("socket %d label %x", tx.order[0], labels[0])
					if was, ok := byHash[hash]; ok && was != at {
						t.Errorf("hash %d: %s and %s", hash, was, at)
					}
					byHash[hash], all[at] = at, true
					tx.Flush(func(_ uint32, err error) { t.Fatal(err) })
				}
			}
			want := DefaultSourcePorts
			if v6 {
				want *= labelsASocket
			}
			// 400 hashes leave few of the 128 out.
			if len(all) > want || len(all) < want*9/10 {
				t.Errorf("%d kinds of outer headers, want nearly %d", len(all), want)
			}
		})
	}
}

// An exclusive lease of a label by anybody makes the kernel refuse labels that are not leased: they are given up, and nothing is lost.
func TestFlowLabelsRefused(t *testing.T) {
	l := newLab(t)
	a, b := l.pair(true, func(c *Config) { c.FlowLabels = true })
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	// struct in6_flowlabel_req (linux/in6.h): destination, label, action, share, flags, expires, linger, padding.
	var request [32]byte
	copy(request[:16], ip(addrB6).AsSlice())
	binary.BigEndian.PutUint32(request[16:], 0x12345)
	const get, exclusive, create, flowLabelManager = 0, 1, 1, 32
	request[20], request[21] = get, exclusive
	binary.NativeEndian.PutUint16(request[22:], create)
	must(t, unix.SetsockoptString(fd, unix.SOL_IPV6, flowLabelManager, string(request[:])))

	tx, to := a.NewTransmitter(), NewDest(b.Local())
	for i := range 100 {
		tx.Queue(to, Class{}, uint32(i), payload(100, byte(i)), nil, 0)
	}
	tx.Flush(func(_ uint32, err error) { t.Error(err) })
	collect(t, b.Receiver(0), 100)
	select {
	case d := <-a.Degraded():
		if d.What != "flow-label" || !strings.Contains(d.Reason, "leased") {
			t.Errorf("%+v", d)
		}
	default:
		t.Error("nothing was said of labels")
	}
	c := a.Caps()
	if c.FlowLabel || !strings.Contains(c.FlowLabelReason, "leased") || !c.GSO || c.Reason != "" {
		t.Errorf("capabilities %+v: want labels off, and nothing else", c)
	}
	if s := mustOpen(t, Config{Local: ip(addrA6), Port: 4790, FlowLabels: true}); s.Caps().FlowLabel {
		t.Error("labels that the kernel refuses from the start")
	}
}
