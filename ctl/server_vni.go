package ctl

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

func (s *server) listVNIs(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "stats")
	stats := q.flag("stats")
	if q.err != nil {
		return q.err
	}
	m := s.c.Model()
	byVNI := s.vniStats(stats)
	return replyList(w, s.c.sw.VNIs(), func(i dataplane.VNIInfo) api.VNI {
		out := vniInfo(m, i)
		out.Stats = byVNI[i.Config.VNI]
		return out
	})
}

// vniStats are the counters by VNI; nil when they are not wanted.
func (s *server) vniStats(wanted bool) map[uint32]*api.Counters {
	if !wanted {
		return nil
	}
	byVNI := map[uint32]*api.Counters{}
	for _, v := range s.c.sw.VNIStats() {
		c := counters(v.Counters)
		byVNI[v.VNI] = &c
	}
	return byVNI
}

func (s *server) getVNI(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "stats")
	stats := q.flag("stats")
	if q.err != nil {
		return q.err
	}
	vni, err := needed("vni", r.PathValue("vni"), model.ParseVNI)
	if err != nil {
		return err
	}
	m := s.c.Model()
	for _, i := range s.c.sw.VNIs() {
		if i.Config.VNI == vni {
			out := vniInfo(m, i)
			out.Stats = s.vniStats(stats)[vni]
			return reply(w, http.StatusOK, out)
		}
	}
	return noVNI(vni)
}

func (s *server) addVNI(w http.ResponseWriter, r *http.Request) error {
	var spec api.VNISpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	vni, err := needed("vni", number(spec.VNI), model.ParseVNI)
	if err != nil {
		return err
	}
	err = s.edit.Change(func(m *model.Model) error {
		v := &model.VNI{}
		if err := editVNI(v, &spec); err != nil {
			return err
		}
		return addVNI(m, vni, v)
	})
	if err != nil {
		return err
	}
	return created(w)
}

func (s *server) setVNI(w http.ResponseWriter, r *http.Request) error {
	vni, err := needed("vni", r.PathValue("vni"), model.ParseVNI)
	if err != nil {
		return err
	}
	var spec api.VNISpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	if spec.VNI != 0 && spec.VNI != vni {
		return malformed("vni", "a VNI cannot become another: the path says %d, the body %d", vni, spec.VNI)
	}
	err = s.edit.Change(func(m *model.Model) error {
		return setVNI(m, vni, func(v *model.VNI) error { return editVNI(v, &spec) })
	})
	if err != nil {
		return err
	}
	return noContent(w)
}

func (s *server) deleteVNI(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	vni, err := needed("vni", r.PathValue("vni"), model.ParseVNI)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return delVNI(m, vni) }); err != nil {
		return err
	}
	return noContent(w)
}

// editVNI applies what a spec says to v, whose slices it replaces.
func editVNI(v *model.VNI, spec *api.VNISpec) error {
	switch text := string(spec.Group); text {
	case "":
	case "none", string(api.Default):
		v.Group = netip.AddrPort{}
	default:
		g, err := needed("group", text, model.ParseMulticast)
		if err != nil {
			return err
		}
		v.Group = g
	}
	if spec.Peers != nil {
		peers := make([]netip.AddrPort, 0, len(spec.Peers))
		for _, text := range spec.Peers {
			p, err := needed("peers", text, model.ParsePeer)
			if err != nil {
				return err
			}
			peers = append(peers, p)
		}
		v.Peers = peers
	}
	if spec.Allow != nil {
		allow, err := model.ParsePrefixes(spec.Allow)
		if err != nil {
			return bad("allow", err)
		}
		v.Settings.Allow = allow
	}
	for _, named := range spec.Settings() {
		set := model.SettingByName(named.Name)
		text := string(*named.Value)
		switch {
		case text == "":
			continue
		case text == string(api.Default):
			set.Clear(&v.Settings)
			continue
		case named.Name == "ageing" && digitsOnly(text):
			// GET tells seconds as a number, so a number is taken as such.
			text += "s"
		}
		if err := set.Parse(&v.Settings, text); err != nil {
			return bad(strings.ReplaceAll(named.Name, "-", "_"), err)
		}
	}
	return nil
}

func digitsOnly(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

func (s *server) listVLANs(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	m := s.c.Model()
	return replyList(w, sortedVIDs(m), func(vid uint16) api.VLAN { return api.VLAN{VID: vid, VNI: m.VLANs.At(vid)} })
}

func (s *server) getVLAN(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	vid, err := needed("vid", r.PathValue("vid"), model.ParseVID)
	if err != nil {
		return err
	}
	vni, ok := s.c.Model().VLANs.Get(vid)
	if !ok {
		return model.NotFound(fmt.Sprintf("vlans/%d", vid), "VLAN %d does not exist: see vlan show", vid)
	}
	return reply(w, http.StatusOK, api.VLAN{VID: vid, VNI: vni})
}

func (s *server) addVLAN(w http.ResponseWriter, r *http.Request) error {
	var spec api.VLAN
	if err := body(w, r, &spec); err != nil {
		return err
	}
	vid, err := needed("vid", number(spec.VID), model.ParseVID)
	if err != nil {
		return err
	}
	vni, err := needed("vni", number(spec.VNI), model.ParseVNI)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return addVLAN(m, vid, vni) }); err != nil {
		return err
	}
	return created(w)
}

func (s *server) deleteVLAN(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	vid, err := needed("vid", r.PathValue("vid"), model.ParseVID)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return delVLAN(m, vid) }); err != nil {
		return err
	}
	return noContent(w)
}
