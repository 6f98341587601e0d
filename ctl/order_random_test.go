package ctl

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// TestRandomOrder walks between random models, as TestOrder does between those of orders.
func TestRandomOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ns := namespaces(t, "red", "blue")
	ns = append(ns, alias(t, ns[0]))
	m := parse(t, baseFile)
	done := map[string]int{}
	for range 1000 {
		next := m.Clone()
		for range 1 + rng.IntN(12) {
			tried := next.Clone()
			if rng.IntN(2) == 0 {
				randomCommand(rng, tried)
				for name, p := range tried.Ports.All() {
					if p.NetNS == "blue" { // which is not there
						c := *p
						c.NetNS = ns[1]
						tried.Ports.Put(name, &c)
					}
				}
			} else {
				randomDevice(rng, tried, ns)
			}
			tried.Normalize()
			if tried.Check() == nil {
				next = tried
			}
		}
		r := walk(t, m, next, -1)
		if clash := clashes(next); (r.err != nil) != clash {
			t.Fatalf("names clash: %v; %v ends with %v", clash, r.ops, r.err)
		}
		if r.err != nil {
			done["refused"]++
			continue
		}
		dels := 0
		for i, op := range r.ops {
			if op = strings.Join(strings.Fields(op)[:2], " "); op == "del port" {
				dels++
			} else if strings.HasPrefix(op, "check") && dels > 0 {
				t.Fatalf("a check comes after a deletion: %v", r.ops)
			}
			done[op]++
			if r := walk(t, m, next, i); !errors.Is(r.err, errTest) {
				t.Fatalf("operation %d of %v fails: error %v", i, r.ops, r.err)
			}
		}
		m = next
	}
	for _, op := range []string{"refused", "check port", "add port", "set port", "del port", "set vni", "del vni"} {
		if done[op] < 50 {
			t.Errorf("%s: %d, the walk is too narrow: %v", op, done[op], done)
		}
	}
}

// randomDevice edits ports whose interfaces get in each other's way, and VNIs that narrow.
func randomDevice(rng *rand.Rand, m *model.Model, ns []string) {
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	name, vni := pick("v0", "v1", "v2", "v3"), uint32(42+rng.IntN(2))
	switch rng.IntN(8) {
	case 0, 1, 2, 3:
		p := &model.Port{Type: dataplane.PortVeth, VNI: vni, NetNS: pick(ns...), IfName: pick("", "eth0", "eth1"), Isolated: rng.IntN(2) == 0}
		if rng.IntN(3) == 0 {
			p.NetNS, p.IfName = "", pick("v0", "v1", "w0")
		}
		if rng.IntN(3) == 0 {
			p.Addresses = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + rng.IntN(5))}), 24)}
		}
		if rng.IntN(3) == 0 {
			p.MAC = net.HardwareAddr{2, 0, 0, 0, 0, byte(1 + rng.IntN(3))}
		}
		if rng.IntN(8) == 0 {
			*p = model.Port{Type: dataplane.PortTAP, VNI: vni, NetNS: pick("", ns[0])}
		}
		m.Ports.Put(name, p)
	case 4:
		_ = delPort(m, name)
	case 5:
		_ = setVNI(m, vni, func(v *model.VNI) error { v.Settings.MaxMACs = model.Some(10 + rng.IntN(20)); return nil })
	case 6:
		_ = setVNI(m, vni, func(v *model.VNI) error {
			v.Peers, v.Group, v.Settings.Learning = nil, netip.AddrPort{}, model.Opt[bool]{}
			for i := range rng.IntN(4) {
				v.Peers = append(v.Peers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i + rng.IntN(3)*4)}), uint16(4789+rng.IntN(2))))
			}
			if rng.IntN(2) == 0 {
				v.Group = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 1, 1, byte(1 + rng.IntN(2))}), 4789)
				if rng.IntN(3) == 0 { // which a VNI that learns does not take
					v.Group, v.Settings.Learning = netip.AddrPortFrom(v.Group.Addr(), 8472), model.Some(false)
				}
			}
			return nil
		})
	case 7:
		_ = setPort(m, pick("tap0", "tap1", "tap2", "v0"), func(p *model.Port) error {
			p.MTU, p.Addresses, p.Isolated = rng.IntN(2)*(1400+rng.IntN(3)), nil, rng.IntN(2) == 0
			for range rng.IntN(3) {
				p.Addresses = append(p.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + rng.IntN(5))}), 24))
			}
			return nil
		})
	}
}

// clashes says whether two ports of a model want one name.
func clashes(m *model.Model) bool {
	taken := map[dataplane.Interface]bool{}
	for name := range m.Ports.Keys() {
		c := m.PortConfig(name)
		for _, i := range c.Interfaces() {
			if taken[i] {
				return true
			}
			taken[i] = true
		}
	}
	return false
}
