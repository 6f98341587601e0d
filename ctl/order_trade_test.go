package ctl

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

const tradeFile = `
local: 192.0.2.1
vlans: [{vid: 10, vni: 10010}, {vid: 20, vni: 10020}, {vid: 30, vni: 10010}]
vnis: [{vni: 42}]
ports:
`

// trades are reloads in which one port comes to VNI 10010, another leaves it, and a third stays there.
var trades = []struct {
	name      string
	old, next string
	ops       []string
}{
	{
		"a native VLAN is but tagged afterwards",
		"- {name: tap0, trunk: [10, 20], native: 10}\n- {name: tap1, vni: 10010}\n- {name: tap2, vni: 42}\n",
		"- {name: tap0, trunk: [20, 10]}\n- {name: tap1, vni: 42}\n- {name: tap2, vni: 10010}\n",
		[]string{"set port tap0", "set port tap1", "set port tap2", "set port tap1", "set port tap2"},
	},
	{
		"a tagged VLAN becomes the native one",
		"- {name: tap0, trunk: [10, 20]}\n- {name: tap1, vni: 10010}\n- {name: tap2, vni: 42}\nstatic:\n- {mac: 02:00:00:00:00:0a, vni: 10010, port: tap0}\n",
		"- {name: tap0, trunk: [10, 20], native: 10}\n- {name: tap1, vni: 42}\n- {name: tap2, vni: 10010}\nstatic:\n- {mac: 02:00:00:00:00:0a, vni: 10010, port: tap0}\n",
		[]string{"set port tap1", "set port tap2", "set port tap0", "set port tap1", "set port tap2"},
	},
	{
		"a VLAN gets another ID and a static entry",
		"- {name: tap0, trunk: [10, 20]}\n- {name: tap1, vni: 10010}\n- {name: tap2, vni: 42}\n",
		"- {name: tap0, trunk: [20, 30]}\n- {name: tap1, vni: 42}\n- {name: tap2, vni: 10010}\nstatic:\n- {mac: 02:00:00:00:00:0a, vni: 10010, port: tap0}\n",
		[]string{"set port tap0", "set port tap1", "set port tap2", "set port tap0", "set port tap1", "set port tap2", "put 10010 02:00:00:00:00:0a"},
	},
}

// TestOrderOfTrades: who stays in a VNI that some come to and others leave keeps what it has there.
func TestOrderOfTrades(t *testing.T) {
	for _, c := range trades {
		t.Run(c.name, func(t *testing.T) {
			old, next := parse(t, tradeFile+c.old), parse(t, tradeFile+c.next)
			r := walkAll(t, old, next)
			if diff := cmp.Diff(c.ops, r.ops); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
		})
	}
}

// walkAll is walk with no operation failing, and with each.
func walkAll(t *testing.T, old, next *model.Model) walked {
	t.Helper()
	r := walk(t, old, next, -1)
	if r.err != nil {
		t.Fatal(r.err)
	}
	for i := range r.ops {
		if r := walk(t, old, next, i); !errors.Is(r.err, errTest) {
			t.Fatalf("operation %d of %v fails: error %v", i, r.ops, r.err)
		}
	}
	return r
}

// TestRandomTrades walks between models in which a few ports are in the same few VNIs by whatever names.
func TestRandomTrades(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	ns := namespaces(t, "red", "blue")
	m := randomTrade(t, rng, ns)
	for range 500 {
		next := randomTrade(t, rng, ns)
		walkAll(t, m, next)
		m = next
	}
}

func randomTrade(t *testing.T, rng *rand.Rand, ns []string) *model.Model {
	vids := []uint16{10, 20, 30, 40}
	for {
		m := parse(t, "local: 192.0.2.1\nvnis: [{vni: 43}, {vni: 44}, {vni: 45}, {vni: 46}]\n")
		names := rng.Perm(len(vids))
		for i, vid := range vids {
			m.VLANs.Put(vid, uint32(43+names[i]))
		}
		for i := range 4 {
			p := &model.Port{Type: dataplane.PortTAP}
			if rng.IntN(6) == 0 {
				p.Type, p.NetNS = dataplane.PortVeth, ns[rng.IntN(len(ns))]
			}
			switch rng.IntN(5) {
			case 0:
				continue
			case 1:
				p.VNI = uint32(43 + rng.IntN(4))
			case 2:
				p.Access = vids[rng.IntN(4)]
			default:
				for _, vid := range vids {
					if rng.IntN(2) == 0 {
						p.Trunk = append(p.Trunk, vid)
					}
				}
				p.Native = []uint16{0, vids[rng.IntN(4)]}[rng.IntN(2)]
			}
			name := fmt.Sprintf("t%d", i)
			m.Ports.Put(name, p)
			if vnis := m.PortVNIs(p); len(vnis) > 0 && rng.IntN(2) == 0 {
				k := model.StaticKey{VNI: vnis[rng.IntN(len(vnis))], MAC: fdb.MAC(0x020000000000 + uint64(1+rng.IntN(2)))}
				m.Statics.Put(k, model.Static{Port: name, State: fdb.Static})
			}
		}
		m.Normalize()
		if m.Check() == nil && !clashes(m) {
			return m
		}
	}
}
