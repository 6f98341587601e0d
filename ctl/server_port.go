package ctl

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

func sortedVIDs(m *model.Model) []uint16 { return slices.Sorted(m.VLANs.Keys()) }

func (s *server) listPorts(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "stats")
	stats := q.flag("stats")
	if q.err != nil {
		return q.err
	}
	m := s.c.Model()
	byPort := s.portStats(stats)
	ports := s.c.sw.Ports()
	slices.SortFunc(ports, func(a, b dataplane.PortInfo) int { return model.CompareNames(a.Config.Name, b.Config.Name) })
	return replyList(w, ports, func(i dataplane.PortInfo) api.Port {
		out := portInfo(m, i)
		out.Stats = byPort[i.Config.Name]
		return out
	})
}

// portStats are the counters by port; nil when they are not wanted.
func (s *server) portStats(wanted bool) map[string]*api.Counters {
	if !wanted {
		return nil
	}
	byPort := map[string]*api.Counters{}
	for _, p := range s.c.sw.PortStats() {
		c := counters(p.Counters)
		byPort[p.Port] = &c
	}
	return byPort
}

func (s *server) getPort(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "stats")
	stats := q.flag("stats")
	if q.err != nil {
		return q.err
	}
	name, err := pathPort(r)
	if err != nil {
		return err
	}
	m := s.c.Model()
	for _, i := range s.c.sw.Ports() {
		if i.Config.Name == name {
			out := portInfo(m, i)
			out.Stats = s.portStats(stats)[name]
			return reply(w, http.StatusOK, out)
		}
	}
	return noPort(m, name)
}

// pathPort reads the name of a port in a path. One that no interface can have, such as a/b escaped as a%2fb, is not looked for: the parts of an error's path
// would be mistaken.
func pathPort(r *http.Request) (string, error) {
	return needed("port", r.PathValue("port"), model.ParsePortName)
}

func (s *server) addPort(w http.ResponseWriter, r *http.Request) error {
	var spec api.PortSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	name, err := needed("port", spec.Port, model.ParsePortName)
	if err != nil {
		return err
	}
	err = s.edit.Change(func(m *model.Model) error {
		p := &model.Port{Type: dataplane.PortTAP}
		if err := editPort(p, &spec); err != nil {
			return err
		}
		return addPort(m, name, p)
	})
	if err != nil {
		return err
	}
	return created(w)
}

func (s *server) setPort(w http.ResponseWriter, r *http.Request) error {
	var spec api.PortSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	name, err := pathPort(r)
	if err != nil {
		return err
	}
	if spec.Port != "" && spec.Port != name {
		return malformed("port", "a port cannot be renamed: the path says %.20s, the body %.20s", name, spec.Port)
	}
	err = s.edit.Change(func(m *model.Model) error {
		return setPort(m, name, func(p *model.Port) error { return editPort(p, &spec) })
	})
	if err != nil {
		return err
	}
	return noContent(w)
}

func (s *server) deletePort(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	name, err := pathPort(r)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return delPort(m, name) }); err != nil {
		return err
	}
	return noContent(w)
}

// editPort applies what a spec says to p, whose slices it replaces.
func editPort(p *model.Port, spec *api.PortSpec) error {
	if spec.Type != "" {
		t, err := given("type", spec.Type, model.ParsePortType)
		if err != nil {
			return err
		}
		p.Type = t
	}
	if err := belongs(spec); err != nil {
		return err
	}
	vni, err := given("vni", string(spec.VNI), model.ParseVNI)
	if err != nil {
		return err
	}
	access, err := given("access", string(spec.Access), model.ParseVID)
	if err != nil {
		return err
	}
	trunk, err := given("trunk", string(spec.Trunk), model.ParseVIDs)
	if err != nil {
		return err
	}
	if vni != 0 || access != 0 || trunk != nil {
		p.VNI, p.Access, p.Trunk = vni, access, trunk
		if trunk == nil {
			p.Native = 0
		}
	}
	if err := optional("native", spec.Native, model.ParseVID, &p.Native); err != nil {
		return err
	}
	if err := optional("mtu", spec.MTU, model.ParseMTU, &p.MTU); err != nil {
		return err
	}
	if err := optional("mac", spec.MAC, model.ParsePortMAC, &p.MAC); err != nil {
		return err
	}
	if err := optional("netns", spec.NetNS, model.ParseNetNS, &p.NetNS); err != nil {
		return err
	}
	if err := optional("ifname", spec.IfName, model.ParseIfName, &p.IfName); err != nil {
		return err
	}
	if err := optional("max_macs", spec.MaxMACs, model.ParseMaxMACs, &p.MaxMACs); err != nil {
		return err
	}
	if err := optional("mss_clamp", spec.MSSClamp, model.ParseMSSClamp, &p.MSSClamp); err != nil {
		return err
	}
	if err := optional("storm_control", spec.StormControl, model.ParsePortStormControl, &p.StormControl); err != nil {
		return err
	}
	if err := optional("isolated", spec.Isolated, model.ParseBool, &p.Isolated); err != nil {
		return err
	}
	if err := optional("gbp_id", spec.GBPID, model.ParseGBPID, &p.GBPID); err != nil {
		return err
	}
	if err := optional("gbp_drop", spec.GBPDrop, model.ParseGBPRangesOrNone, &p.GBPDrop); err != nil {
		return err
	}
	if spec.Addresses != nil {
		list := make([]netip.Prefix, 0, len(spec.Addresses))
		for _, text := range spec.Addresses {
			a, err := needed("addresses", text, model.ParseInterfaceAddr)
			if err != nil {
				return err
			}
			list = append(list, a)
		}
		p.Addresses = list
	}
	return nil
}

// belongs refuses values that would leave a port in no VNI: it is moved by saying where to.
func belongs(spec *api.PortSpec) error {
	for _, v := range []api.NamedValue{{Name: "vni", Value: &spec.VNI}, {Name: "access", Value: &spec.Access}, {Name: "trunk", Value: &spec.Trunk}} {
		if *v.Value == api.Default {
			return bad(v.Name, errors.New("it has no default: write vni, access or trunk, each of which takes the place of another"))
		}
	}
	if spec.Trunk == "none" { // what an empty list is read as
		return bad("trunk", errors.New("an empty list: name its VLANs, or write vni or access, which takes the place of trunk"))
	}
	return nil
}

// optional sets what a value says: nothing when it is absent, the zero value for the default.
func optional[T any](field string, v api.Value, parse func(string) (T, error), into *T) error {
	if v == api.Default {
		var zero T
		*into = zero
		return nil
	}
	if v == "" {
		return nil
	}
	parsed, err := given(field, string(v), parse)
	if err == nil {
		*into = parsed
	}
	return err
}
