package main_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// transferSize is what each direction carries in the plainest case, in bytes; the others take a quarter, because checksums in software are slow.
const transferSize = 1 << 30

// TestKernelPeer sends a gigabyte each way, both at once, between vtepd and the kernel's vxlan device, and compares SHA-256.
func TestKernelPeer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		v6, withoutCheck bool
		setting          string
	}{
		{"IPv4", false, false, "udp-checksum: on"},
		{"IPv4 without checksum", false, true, "udp-checksum: off"},
		{"IPv6", true, false, ""},
		{"IPv6 without checksum", true, true, "udp6-zero-checksum: both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			size := int64(transferSize)
			if c.v6 {
				size /= 4
			}
			if testing.Short() {
				size /= 16
			}
			l, h, k, link := pair(t)
			// The kernel's device expects hardware that finishes checksums and cuts superframes; a program at the other end of a veth pair is none.
			link.ChecksumsOff()
			own, kernel := h.Underlay4(), k.Underlay4()
			mtu := 1450
			if c.v6 {
				own, kernel, mtu = h.Underlay6(), k.Underlay6(), 1430
			}
			o := lab.VXLANOptions{VNI: 42, Local: kernel, Peers: []netip.Addr{own}, MTU: mtu}
			o.NoCsum, o.ZeroCsum6 = c.withoutCheck && !c.v6, c.withoutCheck && c.v6
			k.Addr(k.VXLAN(o), k.OverlayPrefixes()...)
			d := start(t, l, h, overlay(own, kernel, h.OverlayPrefixes(), c.setting))
			reach(t, h, k.Overlay4())

			wire := h.Sniff("eth0")
			reach(t, h, k.Overlay4())
			frame, ok := wire.Until(lab.Patience, isVXLAN(c.v6))
			wire.Close()
			if !ok || (udpChecksum(frame.Data, c.v6) == 0) != c.withoutCheck {
				t.Errorf("outer checksum of the kernel's datagram: seen %v, zero %v", ok, ok && udpChecksum(frame.Data, c.v6) == 0)
			}

			// One direction over the inner IPv4, the other over IPv6, both at the same time.
			up, upEnd := connect(t, h, k, k.Overlay4())
			down, downEnd := connect(t, k, h, h.Overlay6())
			result := make(chan error, 2)
			began := time.Now()
			go func() { result <- wrap("vtepd to kernel", transfer(up, upEnd, size, 1)) }()
			go func() { result <- wrap("kernel to vtepd", transfer(down, downEnd, size, 2)) }()
			for range 2 {
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
			took := time.Since(began).Seconds()
			t.Logf("%d MB each way in %.2f s, %.1f Gb/s in sum", size/1e6, took, 2*8*float64(size)/1e9/took)
			for _, drop := range d.list(t, "drops", "show") {
				if drop["count"].(float64) > 0 {
					t.Logf("dropped: %v", drop)
				}
			}
		})
	}
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// outerUDP is where the UDP header of an untagged frame without IP options begins.
func outerUDP(v6 bool) int {
	if v6 {
		return 14 + 40
	}
	return 14 + 20
}

// isVXLAN matches frames that carry a UDP datagram to port 4789.
func isVXLAN(v6 bool) func(frame []byte) bool {
	etherType, protocol := uint16(0x0800), 14+9
	if v6 {
		etherType, protocol = 0x86dd, 14+6
	}
	return func(f []byte) bool {
		at := outerUDP(v6)
		return len(f) >= at+8 && binary.BigEndian.Uint16(f[12:]) == etherType && f[protocol] == 17 && binary.BigEndian.Uint16(f[at+2:]) == 4789
	}
}

func udpChecksum(f []byte, v6 bool) uint16 { return binary.BigEndian.Uint16(f[outerUDP(v6)+6:]) }
