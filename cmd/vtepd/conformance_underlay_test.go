package main_test

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// underlayAddress is the address of a hypervisor on its underlay.
func underlayAddress(over family, n int) netip.Prefix {
	if over.v6 {
		return netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", n))
	}
	return netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", n))
}

// TestKernelSelftestUnderVRF is what the kernel's test_vxlan_under_vrf.sh (tools/testing/selftests/net) proves of VRFs, with network namespaces: the
// underlay is where the workload's host is, is moved elsewhere, and comes back; each time two workloads reach each other. A vtepd's underlay is that
// of the namespace it was started in, so it is started anew where the script sets its device down and up.
//
// The namespace of the underlay knows nothing of the tenants: vm-1 and vm-2 have the addresses of the underlay inside, and that does not matter.
//
//	vm-1 {tap0 .1} ── vtepd in hv-1 or ul-1 {eth0 .1} ══ {eth0 .2} vtepd in hv-2 or ul-2 ── vm-2 {tap0 .2}
func TestKernelSelftestUnderVRF(t *testing.T) {
	everySetting(t, func(t *testing.T, s setting, over family) {
		l := lab.New(t)
		hv := [2]*lab.Host{l.Host("hv-1"), l.Host("hv-2")}
		ul := [2]*lab.Host{l.Host("ul-1"), l.Host("ul-2")}
		vm := [2]*lab.Host{l.Host("vm-1"), l.Host("vm-2")}
		l.Link(hv[0], hv[1], lab.LinkOptions{Addressing: lab.Bare})
		if over.v6 {
			for _, h := range hv {
				if err := h.Sysctl("net/ipv6/conf/eth0/disable_ipv6", "0"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, at := range []struct {
			name string
			from *[2]*lab.Host
			in   [2]*lab.Host
		}{
			{"underlay beside the workload's host", nil, hv},
			{"underlay in a namespace of its own", &hv, ul},
			{"underlay back", &ul, hv},
		} {
			var vtepds []*daemon
			for i, h := range at.in {
				if at.from != nil {
					at.from[i].Must("ip", "link", "set", "eth0", "netns", h.Name())
				}
				h.Addr("eth0", underlayAddress(over, 1+i))
				vtepds = append(vtepds, start(t, l, h, fmt.Sprintf("local: \"%v\"\n%svnis:\n- {vni: 10, peers: [\"%v\"]}\n"+
					"ports:\n- {%s, vni: 10, netns: %s, mac: \"02:1d:8d:dd:0c:6%d\", addresses: [192.0.2.%[6]d/24]}\n",
					underlayAddress(over, 1+i).Addr(), s.yaml, underlayAddress(over, 2-i).Addr(), s.port("tap0"), vm[i].Name(), 1+i)))
			}
			t.Log(at.name)
			reach(t, vm[0], netip.MustParseAddr("192.0.2.2"))
			reach(t, vm[1], netip.MustParseAddr("192.0.2.1"))
			for i, d := range vtepds {
				if got := links(t, at.in[i]); s.kind == "tap" && slices.Contains(got, "tap0") {
					t.Errorf("%s: the TAP is among the underlay's links %v", at.name, got)
				}
				d.stop(t, syscall.SIGTERM)
			}
		}
	})
}

// Two underlays with the same addresses, in namespaces of their own, carry the same VNI for two tenants that share hosts: nothing of one is ever seen in
// the other, and when one is cut the other goes on.
//
//	vm-1 {blue0, red0}                                                            vm-2 {blue0, red0}
//	       ├──────── vtepd in blue-1 {eth0 .1} ══ {eth0 .2} vtepd in blue-2 ─────────┤
//	       └──────── vtepd in red-1  {eth0 .1} ══ {eth0 .2} vtepd in red-2  ─────────┘
func TestUnderlaysApart(t *testing.T) {
	everySetting(t, func(t *testing.T, s setting, over family) {
		l := lab.New(t)
		vm := [2]*lab.Host{l.Host("vm-1"), l.Host("vm-2")}
		underlays := map[string][2]*lab.Host{}
		overlays := map[string]string{"blue": "198.51.100", "red": "203.0.113"}
		sniffers := map[string]*lab.Sniffer{}
		for _, color := range []string{"blue", "red"} {
			pair := [2]*lab.Host{l.Host(color + "-1"), l.Host(color + "-2")}
			underlays[color] = pair
			l.Link(pair[0], pair[1], lab.LinkOptions{Addressing: lab.Bare})
			for i, h := range pair {
				if over.v6 {
					if err := h.Sysctl("net/ipv6/conf/eth0/disable_ipv6", "0"); err != nil {
						t.Fatal(err)
					}
				}
				h.Addr("eth0", underlayAddress(over, 1+i))
			}
			for i, h := range pair {
				// The same MACs in both, too.
				start(t, l, h, fmt.Sprintf("local: \"%v\"\n%svnis:\n- {vni: 10, peers: [\"%v\"]}\n"+
					"ports:\n- {%s, vni: 10, netns: %s, mac: \"02:00:00:00:00:0%d\", addresses: [%s.%[6]d/24]}\n",
					underlayAddress(over, 1+i).Addr(), s.yaml, underlayAddress(over, 2-i).Addr(), s.port(color+"0"), vm[i].Name(), 1+i, overlays[color]))
				sniffers[fmt.Sprint(color, i)] = vm[i].Sniff(color + "0")
			}
		}
		blue, red := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("203.0.113.2")
		reach(t, vm[0], blue)
		reach(t, vm[0], red)

		const frames = 10
		serial := uint64(0)
		for _, dst := range []uint64{1<<48 - 1, 0x020000000063} { // broadcast, unknown
			for _, color := range []string{"blue", "red"} {
				for from := range vm {
					serial++
					p := encaptest.Packet{SrcMAC: 0x020000000050 + uint64(from), DstMAC: dst, Proto: encap.ProtoUDP, Payload: encaptest.Payload(64, serial)}
					vm[from].Inject(color+"0", slices.Repeat([][]byte{p.Frame()}, frames)...)
					got := map[string]int{}
					for end := time.Now().Add(soonTimeout); got[fmt.Sprint(color, 1-from)] < frames && time.Now().Before(end); {
						countFrames(sniffers, p.Frame(), got)
					}
					time.Sleep(straggle)
					countFrames(sniffers, p.Frame(), got)
					if len(got) != 1 || got[fmt.Sprint(color, 1-from)] != frames {
						t.Errorf("%d frames to %012x from vm-%d in %s: %v", frames, dst, from+1, color, got)
					}
				}
			}
		}

		underlays["blue"][1].Must("ip", "link", "set", "eth0", "down")
		if ping(t, vm[0], blue) {
			t.Error("blue has an answer without its underlay")
		}
		if !ping(t, vm[0], red) {
			t.Error("red has no answer while blue is cut")
		}
	})
}

// countFrames adds the frames equal to one that each sniffer has now.
func countFrames(sniffers map[string]*lab.Sniffer, frame []byte, counts map[string]int) {
	for name, s := range sniffers {
		drain(s, func(f []byte) {
			if string(f) == string(frame) {
				counts[name]++
			}
		})
	}
}
