package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// document decodes a whole file.
func (d *decoder) document(data []byte) error {
	root, err := d.root(data)
	if err != nil || root == nil {
		return err
	}
	pairs, err := d.pairs(root, "the file")
	if err != nil {
		return err
	}
	m, g := d.model, &d.model.Global
	if n := find(pairs, "dstport"); n != nil {
		// Peers are told apart by their UDP port, so the default must be known before them. A mistake in it is reported where it stands.
		if port, err := value(d, n, "dstport", model.ParsePort); err == nil {
			g.DstPort = port
		}
	}
	var flood []floodEntry
	fields := []field{
		{"local", d.local},
		scalar(d, "interface", model.ParsePortName, func(v string) { g.Interface = v }),
		scalar(d, "vrf", model.ParsePortName, func(v string) { g.VRF = v }),
		scalar(d, "dstport", model.ParsePort, func(v uint16) { g.DstPort = v }),
		{"listen", d.listen},
		scalar(d, "source-ports", model.ParsePortRange, func(v [2]uint16) { g.SourcePorts = v }),
		scalar(d, "flow-label", model.ParseFlowLabel, func(v bool) { g.FlowLabels = v }),
		scalar(d, "group-interface", model.ParsePortName, func(v string) { g.GroupInterface = v }),
		scalar(d, "socket", ParseSocket, func(v string) { g.Socket = v }),
		scalar(d, "fastpath", model.ParseFastPath, func(v model.FastPath) { g.FastPath = v }),
		scalar(d, "offload", ParseOffload, func(v offload) { g.Offload = bool(v) }),
		scalar(d, "cpu-latency", model.ParseCPULatency, func(v model.CPULatency) { g.CPULatency = v }),
		scalar(d, "workers", model.ParseWorkers, func(v int) { g.Workers = v }),
	}
	fields = append(fields, d.settings(&g.Settings, "")...)
	fields = append(fields,
		field{"vlans", d.vlans},
		field{"vnis", d.vnis},
		field{"ports", d.ports},
		field{"static", func(n ast.Node) error { return d.statics(n, &flood) }},
	)
	if err := d.mapping(pairs, "", fields); err != nil {
		return err
	}
	if g.Local.IsValid() && g.Interface != "" {
		return d.errorAt(d.places["interface"], "both local and interface are set: keep the one that says it better")
	}
	flooded := map[uint32]*model.VNI{}
	for _, f := range flood {
		if !m.HasVNI(f.vni) {
			return d.errorAt(f.at, "the flood list of undeclared VNI %d: declare it under vnis", f.vni)
		}
		v := flooded[f.vni]
		if v == nil {
			v = &model.VNI{}
			if declared := m.VNIs.At(f.vni); declared != nil {
				*v = *declared
			}
			flooded[f.vni] = v
		}
		if f.dst.Addr().IsMulticast() {
			if v.Group.IsValid() {
				return d.errorAt(f.at, "VNI %d has the group %s already: it takes one", f.vni, m.PeerText(v.Group))
			}
			v.Group = f.dst
			d.places[fmt.Sprintf("vnis/%d/group", f.vni)] = f.at
			continue
		}
		v.Peers = append(v.Peers, f.dst)
		d.places[fmt.Sprintf("vnis/%d/peers/%s", f.vni, m.PeerText(f.dst))] = f.at
	}
	for n, v := range flooded {
		m.VNIs.Put(n, v)
	}
	return nil
}

// local takes one address, or a list of one of each family.
func (d *decoder) local(n ast.Node) error {
	g := &d.model.Global
	if n.Type() != ast.SequenceType {
		return scalar(d, "local", model.ParseAddr, func(v netip.Addr) { g.Local = v }).decode(n)
	}
	var list []netip.Addr
	err := d.list(n, "local", func(n ast.Node) error {
		a, err := value(d, n, "local", model.ParseAddr)
		if err == nil {
			list = append(list, a)
			d.places["local/"+a.String()] = d.at(n)
		}
		return err
	})
	if err == nil {
		err = g.SetLocals(list)
	}
	var e *model.Error
	if errors.As(err, &e) {
		at, ok := d.places[e.Path]
		if !ok {
			at = d.at(n)
		}
		return d.errorAt(at, "%s", e.Msg)
	}
	return err
}

// listen takes a list of UDP ports.
func (d *decoder) listen(n ast.Node) error {
	return d.list(n, "listen", func(n ast.Node) error {
		p, err := value(d, n, "listen", model.ParsePort)
		if err == nil {
			d.model.Global.Listen = append(d.model.Global.Listen, p)
			d.places[fmt.Sprintf("listen/%d", p)] = d.at(n)
		}
		return err
	})
}

// floodEntry is a line under static with the all-zero MAC: a peer of a VNI, or its group, by another name.
type floodEntry struct {
	vni uint32
	dst netip.AddrPort
	at  place
}

// settings are the keys that the top level and each VNI share.
func (d *decoder) settings(s *model.Settings, path string) []field {
	fields := make([]field, 0, len(model.SettingTable))
	for _, set := range model.SettingTable {
		f := field{set.Name, func(n ast.Node) error {
			_, err := value(d, n, set.Name, func(text string) (struct{}, error) { return struct{}{}, set.Parse(s, text) })
			return err
		}}
		if set.Name == "allow" {
			f.decode = func(n ast.Node) error {
				var texts []string
				err := d.list(n, "allow", func(n ast.Node) error {
					p, err := value(d, n, "allow", model.ParsePrefix)
					if err == nil {
						texts = append(texts, p.String())
						d.places[path+"allow/"+p.String()] = d.at(n)
					}
					return err
				})
				if err == nil && len(texts) > 0 {
					s.Allow, err = model.ParsePrefixes(texts)
				}
				return err
			}
		}
		if set.Name == "flood" {
			f.decode = func(n ast.Node) error { return d.flood(n, s) }
		}
		if set.Name == "storm-control" {
			f.decode = func(n ast.Node) error {
				c, err := d.stormControl(n)
				s.StormControl = model.Some(c)
				return err
			}
		}
		if set.Name == "gbp-drop" {
			f.decode = func(n ast.Node) error {
				list, err := d.gbpRanges(n)
				s.GBPDrop = model.Some(list)
				return err
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// gbpRanges takes a list of group policy IDs and ranges: [5, 10-20].
func (d *decoder) gbpRanges(n ast.Node) ([]dataplane.GBPRange, error) {
	all := []dataplane.GBPRange{}
	err := d.list(n, "gbp-drop", func(n ast.Node) error {
		some, err := value(d, n, "gbp-drop", model.ParseGBPRanges)
		all = append(all, some...)
		return err
	})
	return model.JoinGBPRanges(all), err
}

// flood takes a list of kinds, [unknown, broadcast, multicast], of which none is nothing.
func (d *decoder) flood(n ast.Node, s *model.Settings) error {
	kinds := dataplane.FloodKinds(0)
	err := d.list(n, "flood", func(n ast.Node) error {
		k, err := value(d, n, "flood", model.ParseFlood)
		if err == nil && kinds&k != 0 {
			return d.errorf(n, "flood: %s is listed twice: leave one away", strings.Join(model.FloodKindWords(k), ","))
		}
		kinds |= k
		return err
	})
	s.Flood = model.Some(kinds)
	return err
}

// stormControl takes a rate for all kinds, or a mapping of kinds to rates: {broadcast: 100pps, unknown: 1kpps}.
func (d *decoder) stormControl(n ast.Node) (c dataplane.StormControl, err error) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		return value(d, n, "storm-control", model.ParseStormControl)
	}
	pairs, err := d.pairs(n, "storm-control")
	if err != nil {
		return c, err
	}
	rate := func(kind string, to *dataplane.Rate) field {
		return scalar(d, kind, model.ParseRate, func(r dataplane.Rate) { *to = r })
	}
	return c, d.mapping(pairs, "", []field{rate("unknown", &c.Unknown), rate("broadcast", &c.Broadcast), rate("multicast", &c.Multicast)})
}

func (d *decoder) vlans(n ast.Node) error {
	return d.list(n, "vlans", func(n ast.Node) error {
		pairs, err := d.pairs(n, "an element of vlans")
		if err != nil {
			return err
		}
		vidNode, vniNode := find(pairs, "vid"), find(pairs, "vni")
		var vid uint16
		var vni uint32
		if err := d.mapping(pairs, "vlans//", []field{
			scalar(d, "vid", model.ParseVID, func(v uint16) { vid = v }),
			scalar(d, "vni", model.ParseVNI, func(v uint32) { vni = v }),
		}); err != nil {
			return err
		}
		switch {
		case vidNode == nil:
			return d.errorf(n, "a VLAN without vid: write {vid: N, vni: N}")
		case vniNode == nil:
			return d.errorf(n, "VLAN %d without vni: write {vid: %d, vni: N}", vid, vid)
		}
		if d.model.VLANs.Has(vid) {
			return d.errorf(vidNode, "VLAN %d is declared twice: first on line %d, so remove one", vid, d.places[fmt.Sprintf("vlans/%d", vid)].line)
		}
		d.model.VLANs.Put(vid, vni)
		d.places[fmt.Sprintf("vlans/%d", vid)] = d.at(vidNode)
		d.places[fmt.Sprintf("vlans/%d/vni", vid)] = d.at(vniNode)
		return nil
	})
}

func (d *decoder) vnis(n ast.Node) error {
	return d.list(n, "vnis", func(n ast.Node) error {
		pairs, err := d.pairs(n, "an element of vnis")
		if err != nil {
			return err
		}
		v, vni := &model.VNI{}, uint32(0)
		key := ""
		if node := find(pairs, "vni"); node != nil {
			if vni, err = value(d, node, "vni", model.ParseVNI); err == nil {
				key = fmt.Sprintf("vnis/%d", vni)
				if d.model.VNIs.Has(vni) {
					return d.errorf(node, "VNI %d is declared twice: first on line %d, so merge them", vni, d.places[key].line)
				}
				d.places[key] = d.at(node)
			}
		}
		fields := []field{
			scalar(d, "vni", model.ParseVNI, func(uint32) {}),
			{"peers", func(n ast.Node) error {
				return d.list(n, "peers", func(n ast.Node) error {
					p, err := value(d, n, "peers", model.ParsePeer)
					if err != nil {
						return err
					}
					p = d.model.Endpoint(p)
					at := key + "/peers/" + d.model.PeerText(p)
					if first, twice := d.places[at]; twice {
						return d.errorf(n, "peer %s is listed twice: first on line %d, so remove one", d.model.PeerText(p), first.line)
					}
					v.Peers = append(v.Peers, p)
					d.places[at] = d.at(n)
					return nil
				})
			}},
			{"group", func(n ast.Node) error {
				g, err := value(d, n, "group", model.ParseMulticast)
				if err == nil {
					v.Group = d.model.Endpoint(g)
					d.places[key+"/group"] = d.at(n)
				}
				return err
			}},
		}
		if err := d.mapping(pairs, key+"/", append(fields, d.settings(&v.Settings, key+"/")...)); err != nil {
			return err
		}
		if key == "" {
			return d.errorf(n, "a VNI without number: write vni: N")
		}
		d.model.VNIs.Put(vni, v)
		return nil
	})
}

func (d *decoder) ports(n ast.Node) error {
	return d.list(n, "ports", func(n ast.Node) error {
		pairs, err := d.pairs(n, "an element of ports")
		if err != nil {
			return err
		}
		p := &model.Port{Type: dataplane.PortTAP}
		key := ""
		if node := find(pairs, "name"); node != nil {
			if name, err := value(d, node, "name", model.ParsePortName); err == nil {
				key = "ports/" + name
				if d.model.Ports.Has(name) {
					return d.errorf(node, "port %s is declared twice: first on line %d, so rename or remove one", name, d.places[key].line)
				}
				d.model.Ports.Put(name, p)
				d.places[key] = d.at(node)
			}
		}
		if err := d.mapping(pairs, key+"/", []field{
			scalar(d, "name", model.ParsePortName, func(string) {}),
			scalar(d, "type", model.ParsePortType, func(v dataplane.PortType) { p.Type = v }),
			scalar(d, "vni", model.ParseVNI, func(v uint32) { p.VNI = v }),
			scalar(d, "access", model.ParseVID, func(v uint16) { p.Access = v }),
			{"trunk", func(n ast.Node) error { return d.trunk(n, key, p) }},
			scalar(d, "native", model.ParseVID, func(v uint16) { p.Native = v }),
			scalar(d, "mtu", model.ParseMTU, func(v int) { p.MTU = v }),
			scalar(d, "netns", model.ParseNetNS, func(v string) { p.NetNS = v }),
			scalar(d, "ifname", model.ParseIfName, func(v string) { p.IfName = v }),
			scalar(d, "mac", model.ParsePortMAC, func(v net.HardwareAddr) { p.MAC = v }),
			{"addresses", func(n ast.Node) error {
				return d.list(n, "addresses", func(n ast.Node) error {
					a, err := value(d, n, "addresses", model.ParseInterfaceAddr)
					if err == nil {
						p.Addresses = append(p.Addresses, a)
						d.places[key+"/addresses/"+a.String()] = d.at(n)
					}
					return err
				})
			}},
			scalar(d, "max-macs", model.ParseMaxMACs, func(v int) { p.MaxMACs = v }),
			scalar(d, "mss-clamp", model.ParseMSSClamp, func(v dataplane.MSSClamp) { p.MSSClamp = v }),
			{"storm-control", func(n ast.Node) error {
				c, err := d.stormControl(n)
				p.StormControl = &c
				return err
			}},
			scalar(d, "isolated", model.ParseBool, func(v bool) { p.Isolated = v }),
			scalar(d, "gbp-id", model.ParseGBPID, func(v uint16) { p.GBPID = v }),
			{"gbp-drop", func(n ast.Node) (err error) { p.GBPDrop, err = d.gbpRanges(n); return err }},
		}); err != nil {
			return err
		}
		if key == "" {
			return d.errorf(n, "a port without name: write name: NAME")
		}
		return nil
	})
}

// trunk takes a list of VLAN IDs and ranges: [10, 20-30].
func (d *decoder) trunk(n ast.Node, key string, p *model.Port) error {
	var listed model.VIDSet
	var trunk []uint16
	err := d.list(n, "trunk", func(n ast.Node) error {
		vids, err := value(d, n, "trunk", model.ParseVIDs)
		if err != nil {
			return err
		}
		for _, vid := range vids {
			if err := listed.Add(vid); err != nil {
				return d.errorf(n, "trunk: %v", err)
			}
		}
		d.trunks.put(key+"/trunk", vids, d.at(n))
		trunk = append(trunk, vids...)
		return nil
	})
	if err == nil && len(trunk) == 0 {
		return d.errorf(n, "trunk: an empty list: name its VLANs, or write vni or access")
	}
	slices.Sort(trunk)
	p.Trunk = trunk
	return err
}

func (d *decoder) statics(n ast.Node, flood *[]floodEntry) error {
	return d.list(n, "static", func(n ast.Node) error {
		pairs, err := d.pairs(n, "an element of static")
		if err != nil {
			return err
		}
		var k model.StaticKey
		var dst netip.Addr
		var dport, ownPort uint16
		s := model.Static{State: fdb.Static}
		macNode, vniNode := find(pairs, "mac"), find(pairs, "vni")
		if macNode != nil && vniNode != nil {
			k.MAC, _ = value(d, macNode, "mac", model.ParseMAC)
			k.VNI, _ = value(d, vniNode, "vni", model.ParseVNI)
		}
		path := model.StaticPath(k)
		if first, twice := d.places[path]; twice && !k.MAC.IsZero() {
			return d.errorf(macNode, "static entry %s in VNI %d is given twice: first on line %d, so remove one", k.MAC, k.VNI, first.line)
		}
		if err := d.mapping(pairs, path+"/", []field{
			scalar(d, "mac", model.ParseMAC, func(v fdb.MAC) { k.MAC = v }),
			scalar(d, "vni", model.ParseVNI, func(v uint32) { k.VNI = v }),
			scalar(d, "dst", model.ParsePeer, func(v netip.AddrPort) {
				dst = v.Addr()
				if v.Port() != 0 {
					dport = v.Port()
				}
			}),
			scalar(d, "dport", model.ParsePort, func(v uint16) { ownPort = v }),
			scalar(d, "port", model.ParsePortName, func(v string) { s.Port = v }),
			scalar(d, "state", parseStaticState, func(v fdb.State) { s.State = v }),
		}); err != nil {
			return err
		}
		switch {
		case macNode == nil:
			return d.errorf(n, "a static entry without mac: write {mac: MAC, vni: N, dst: IP} or {mac: MAC, vni: N, port: NAME}")
		case vniNode == nil:
			return d.errorf(n, "static entry %s without vni: write vni: N", k.MAC)
		case !dst.IsValid() && s.Port == "":
			return d.errorf(n, "static entry %s leads nowhere: write dst: IP for a peer, or port: NAME", k.MAC)
		case dst.IsValid() && s.Port != "":
			return d.errorf(n, "static entry %s has both dst and port: keep one of them", k.MAC)
		case ownPort != 0 && !dst.IsValid():
			return d.errorf(find(pairs, "dport"), "dport without dst: remove it, or write dst: IP")
		case ownPort != 0 && dport != 0 && ownPort != dport:
			return d.errorf(find(pairs, "dport"), "dport %d contradicts the %d of dst: keep one of them", ownPort, dport)
		case k.MAC.IsZero() && find(pairs, "state") != nil:
			return d.errorf(find(pairs, "state"), "the all-zero MAC is the flood list, whose members have no state: remove it")
		}
		dport = max(dport, ownPort)
		if dst.IsValid() {
			s.Dst = d.model.Endpoint(netip.AddrPortFrom(dst, dport))
		}
		if k.MAC.IsZero() {
			if s.Port != "" {
				return d.errorf(macNode, "the all-zero MAC is the flood list, which holds peers: write dst: IP")
			}
			*flood = append(*flood, floodEntry{k.VNI, s.Dst, d.at(macNode)})
			return nil
		}
		d.places[path] = d.at(macNode)
		d.model.Statics.Put(k, s)
		return nil
	})
}

func parseStaticState(s string) (fdb.State, error) {
	w, err := model.ParseWord(s, "static", "sticky")
	if w == "sticky" {
		return fdb.Sticky, err
	}
	return fdb.Static, err
}

// offload is no bool to the file: it is written off or auto.
type offload bool

// ParseOffload reads off or auto.
func ParseOffload(s string) (offload, error) {
	w, err := model.ParseWord(s, "off", "auto")
	return w == "auto", err
}
