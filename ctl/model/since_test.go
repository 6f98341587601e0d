package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// TestCheckSince is a walk of random edits, most of them senseless, from a model of a few objects that name one another a lot: what the check of the difference
// says is what the check of the whole says, problem by problem, and normalising the difference is normalising the whole.
func TestCheckSince(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	old := New()
	old.Global.Local = netip.MustParseAddr("192.0.2.1")
	valid, kinds := 0, map[string]int{}
	for range 7500 {
		next := old.Clone()
		var edits []string
		for range 1 + rng.IntN(3) {
			edits = append(edits, randomEdit(rng, next))
		}
		whole := next.Clone()
		changes := next.Since(old)
		next.NormalizeSince(changes)
		whole.Normalize()
		if diff := cmp.Diff(maps.Collect(whole.Statics.All()), maps.Collect(next.Statics.All()), equalAddresses); diff != "" || !equalVNIs(whole, next) {
			t.Fatalf("after %v: normalised otherwise (-whole +difference):\n%s", edits, diff)
		}
		problems := whole.Validate()
		want, got := texts(problems), texts(next.validateSince(old, changes, len(changes.Ports) == 0))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("after %v (-whole +difference):\n%s", edits, diff)
		}
		if len(want) == 0 {
			valid++
			old = next
			continue
		}
		for _, p := range problems {
			parts := strings.Split(p.Path, "/")
			kind := parts[0]
			if len(parts) > 2 {
				kind += "/" + parts[2]
			}
			kinds[kind]++
		}
	}
	if valid < 600 {
		t.Errorf("only %d steps were valid", valid)
	}
	for _, kind := range []string{"gpe", "vnis/peers", "vnis/gpe", "vnis/gbp-drop", "vnis/group", "vnis/udp6-zero-checksum", "ports", "ports/vni", "ports/access", "ports/native", "ports/trunk", "ports/ifname", "ports/gbp-drop",
		"static/mac", "static/vni", "static/port", "static/dst"} {
		if kinds[kind] < 8 {
			t.Errorf("%s was wrong %d times only; see %v", kind, kinds[kind], kinds)
		}
	}
}

var equalAddresses = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func equalVNIs(a, b *Model) bool {
	return maps.EqualFunc(maps.Collect(a.VNIs.All()), maps.Collect(b.VNIs.All()), func(v, w *VNI) bool { return slices.Equal(v.Peers, w.Peers) })
}

func texts(problems []*Error) []string {
	list := []string{}
	for _, p := range problems {
		list = append(list, p.Path+": "+p.Msg)
	}
	return list
}

// randomEdit changes one thing of a model and says which.
func randomEdit(rng *rand.Rand, m *Model) string {
	vni := func() uint32 { return uint32(1 + rng.IntN(5)) }
	vid := func() uint16 { return uint16(10 + rng.IntN(5)) }
	name := fmt.Sprintf("p%d", rng.IntN(5))
	addr := func() netip.AddrPort {
		list := []string{"192.0.2.2:0", "192.0.2.3:4789", "192.0.2.4:8472", "192.0.2.5:0", "192.0.2.6:0", "192.0.2.7:0", "192.0.2.1:0", "127.0.0.1:0", "239.1.1.1:0", "[2001:db8::1]:0"}
		return netip.MustParseAddrPort(list[min(rng.IntN(40), rng.IntN(len(list)))%len(list)])
	}
	flag := func() Opt[bool] {
		return []Opt[bool]{{}, {}, {}, Some(true), Some(false)}[rng.IntN(5)]
	}
	key := StaticKey{VNI: vni(), MAC: fdb.MAC(0x020000000000 + uint64(rng.IntN(8)))}
	switch rng.IntN(14) {
	case 0, 1:
		v := &VNI{}
		for range rng.IntN(4) {
			v.Peers = append(v.Peers, addr())
		}
		v.Settings.GBP, v.Settings.GPE = flag(), flag()
		if rng.IntN(6) == 0 {
			v.Group, v.Settings.Learning = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 1, 1, 1}), uint16(rng.IntN(2)*8472)), flag()
		}
		if rng.IntN(5) == 0 {
			v.Settings.GBPDrop = Some([]dataplane.GBPRange{{First: 5, Last: 5}})
		}
		if rng.IntN(6) == 0 {
			v.Settings.StormControl = Some(dataplane.StormControl{Unknown: dataplane.Rate{N: uint64(1 + rng.IntN(3)), Bits: true}})
		}
		if rng.IntN(8) == 0 {
			v.Settings.UDP6Zero = Some(ZeroChecksum{Rx: rng.IntN(2) == 0})
		}
		n := vni()
		m.VNIs.Put(n, v)
		return fmt.Sprintf("vni %d", n)
	case 2:
		n := vni()
		m.VNIs.Delete(n)
		return fmt.Sprintf("no vni %d", n)
	case 3, 4:
		v, n := vid(), vni()
		m.VLANs.Put(v, n)
		return fmt.Sprintf("vlan %d is %d", v, n)
	case 5:
		v := vid()
		m.VLANs.Delete(v)
		return fmt.Sprintf("no vlan %d", v)
	case 6, 7:
		p := &Port{Type: dataplane.PortTAP}
		switch rng.IntN(4) {
		case 0:
			p.VNI = vni()
		case 1:
			p.Access = vid()
		case 2:
			for v := uint16(10); v < 15; v++ {
				if rng.IntN(3) == 0 {
					p.Trunk = append(p.Trunk, v)
				}
			}
			if rng.IntN(3) == 0 {
				p.Native = vid()
			}
		case 3:
			if rng.IntN(4) == 0 {
				p.Native = vid()
			} else {
				p.VNI = vni()
			}
		}
		if rng.IntN(6) == 0 {
			p.Type, p.NetNS, p.IfName = dataplane.PortVeth, []string{"", "blue", "/run/netns/blue"}[rng.IntN(3)], []string{"", "x", "p1"}[rng.IntN(3)]
		}
		if rng.IntN(6) == 0 {
			p.GBPDrop = []dataplane.GBPRange{{First: 7, Last: 7}}
		}
		p.Isolated = rng.IntN(6) == 0
		if rng.IntN(6) == 0 {
			p.StormControl = &dataplane.StormControl{Broadcast: dataplane.Rate{N: uint64(rng.IntN(2))}}
		}
		m.Ports.Put(name, p)
		return fmt.Sprintf("port %s %+v", name, *p)
	case 8:
		m.Ports.Delete(name)
		return "no port " + name
	case 9, 10:
		if rng.IntN(30) == 0 {
			key.MAC = []fdb.MAC{0, 0x01005e000001}[rng.IntN(2)]
		}
		s := Static{State: fdb.Static}
		if rng.IntN(2) == 0 {
			s.Dst = addr()
		} else {
			s.Port = name
		}
		m.Statics.Put(key, s)
		return fmt.Sprintf("static %v %+v", key, s)
	case 11, 12:
		n := vni()
		v := m.VNIs.At(n)
		if v == nil {
			return "nothing"
		}
		c := *v
		c.Peers = slices.Clone(v.Peers)
		for range 1 + rng.IntN(2)*rng.IntN(20) {
			p := addr()
			if rng.IntN(2) == 0 {
				p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(rng.IntN(100))}), 4789)
			}
			c.Peers = append(c.Peers, p)
		}
		m.VNIs.Put(n, &c)
		return fmt.Sprintf("peers of vni %d are %v", n, c.Peers)
	default:
		if rng.IntN(4) == 0 {
			m.Global.Settings.GBP, m.Global.Settings.GPE = flag(), flag()
			m.Global.Settings.UDP6Zero = Some(ZeroChecksum{Rx: rng.IntN(2) == 0})
			return "top level"
		}
		m.Statics.Delete(key)
		return fmt.Sprintf("no static %v", key)
	}
}
