package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vtepd/dataplane"
)

// Action is what becomes of an object on the way from one model to another.
type Action string

// The actions.
const (
	Add    Action = "add"
	Change Action = "set"
	Delete Action = "del"
)

// Difference is one object that two models do not have alike.
type Difference struct {
	Action Action
	// Object is settings (the top level), vlan, vni, port or fdb.
	Object string
	// Name tells it from others of its kind: "42", "tap0", "02:00:00:00:00:09 vni 42"; "" at the top level.
	Name string
	// Values are those that differ; those that are given, of an object that comes; none of one that goes.
	Values []ValueDifference
}

// ValueDifference is one value of an object, named as in the file. What is not set is "".
type ValueDifference struct {
	Name     string
	From, To string
	// Added and Removed are what differs in a list, whose From and To stay empty. Where there is neither, its order is another.
	Added, Removed []string
}

// Diff lists what differs from old, the top level first, then VLANs, VNIs, ports and static entries. Of the top level it knows what may change while vtepd
// runs.
func (m *Model) Diff(old *Model) []Difference {
	c := m.Since(old)
	var list []Difference
	note := func(object, name string, before, after []attribute) {
		d := Difference{Action: Change, Object: object, Name: name}
		switch {
		case before == nil:
			d.Action = Add
		case after == nil:
			list = append(list, Difference{Action: Delete, Object: object, Name: name})
			return
		}
		if d.Values = differingValues(before, after); len(d.Values) > 0 || d.Action == Add {
			list = append(list, d)
		}
	}
	note("settings", "", old.Global.attributes(), m.Global.attributes())
	for _, vid := range c.VLANs {
		note("vlan", strconv.Itoa(int(vid)), vlanAttributes(old.VLANs.At(vid)), vlanAttributes(m.VLANs.At(vid)))
	}
	for _, n := range slices.Sorted(slices.Values(m.VNIs.Since(&old.VNIs.Table))) {
		note("vni", strconv.Itoa(int(n)), old.vniAttributes(old.VNIs.At(n)), m.vniAttributes(m.VNIs.At(n)))
	}
	for _, name := range slices.SortedFunc(slices.Values(append(slices.Clone(c.Ports), c.PortsGone...)), CompareNames) {
		note("port", name, old.Ports.At(name).attributes(), m.Ports.At(name).attributes())
	}
	for _, k := range c.Statics {
		note("fdb", fmt.Sprintf("%s vni %d", k.MAC, k.VNI), old.staticAttributes(k), m.staticAttributes(k))
	}
	return list
}

// attribute is one value of an object; list is instead of text where the order of several counts. Objects of a kind have the same ones in the same order.
type attribute struct {
	name, text string
	list       []string
}

func differingValues(before, after []attribute) (list []ValueDifference) {
	for i, now := range after {
		var was attribute
		if before != nil {
			was = before[i]
		}
		if was.text == now.text && slices.Equal(was.list, now.list) {
			continue
		}
		list = append(list, ValueDifference{
			Name: now.name, From: was.text, To: now.text, Added: without(now.list, was.list), Removed: without(was.list, now.list),
		})
	}
	return list
}

// without is a list without what is in other.
func without(list, other []string) (left []string) {
	has := make(map[string]bool, len(other))
	for _, s := range other {
		has[s] = true
	}
	for _, s := range list {
		if !has[s] {
			left = append(left, s)
		}
	}
	return left
}

func (s *Settings) attributes() (list []attribute) {
	for i := range SettingTable {
		t := &SettingTable[i]
		a := attribute{name: t.Name, text: t.Text(s)}
		if t.Name == "allow" {
			a.text, a.list = "", words(s.Allow)
		}
		list = append(list, a)
	}
	return list
}

func (g *Global) attributes() []attribute {
	return append([]attribute{{name: "fastpath", text: string(g.FastPath)}}, g.Settings.attributes()...)
}

func vlanAttributes(vni uint32) []attribute {
	if vni == 0 {
		return nil
	}
	return []attribute{{name: "vni", text: strconv.Itoa(int(vni))}}
}

func (m *Model) vniAttributes(v *VNI) []attribute {
	if v == nil {
		return nil
	}
	peers := attribute{name: "peers"}
	for _, p := range v.Peers {
		peers.list = append(peers.list, m.PeerText(p))
	}
	return append([]attribute{peers, {name: "group", text: m.endpointText(v.Group)}}, v.Settings.attributes()...)
}

// endpointText is PeerText, and "" for none.
func (m *Model) endpointText(p netip.AddrPort) string {
	if !p.IsValid() {
		return ""
	}
	return m.PeerText(p)
}

func (p *Port) attributes() []attribute {
	if p == nil {
		return nil
	}
	number := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	clamp := ""
	if p.MSSClamp != dataplane.MSSDefault {
		clamp = p.MSSClamp.String()
	}
	storm := ""
	if p.StormControl != nil {
		storm = p.StormControl.String()
	}
	return []attribute{
		{name: "type", text: string(p.Type)},
		{name: "vni", text: number(uint64(p.VNI))},
		{name: "access", text: number(uint64(p.Access))},
		{name: "trunk", text: VIDText(p.Trunk)},
		{name: "native", text: number(uint64(p.Native))},
		{name: "mtu", text: number(uint64(p.MTU))},
		{name: "netns", text: p.NetNS},
		{name: "ifname", text: p.IfName},
		{name: "mac", text: p.MAC.String()},
		{name: "addresses", list: words(p.Addresses)},
		{name: "max-macs", text: number(uint64(p.MaxMACs))},
		{name: "mss-clamp", text: clamp},
		{name: "storm-control", text: storm},
		{name: "isolated", text: either(p.Isolated, "on", "")},
		{name: "gbp-id", text: number(uint64(p.GBPID))},
		{name: "gbp-drop", text: strings.Join(GBPWords(p.GBPDrop), ",")},
	}
}

func (m *Model) staticAttributes(k StaticKey) []attribute {
	s, ok := m.Statics.Get(k)
	if !ok {
		return nil
	}
	return []attribute{{name: "dst", text: m.endpointText(s.Dst)}, {name: "port", text: s.Port}, {name: "state", text: s.State.String()}}
}
