package ctl

import (
	"net/http"
	"net/netip"
	"slices"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

func (s *server) listPeers(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "peer", "dport", "vni", "stats")
	vni := parsed(q, "vni", model.ParseVNI)
	dport, peer := parsed(q, "dport", model.ParsePort), q.text("peer")
	stats := q.flag("stats")
	if q.err != nil {
		return q.err
	}
	filter, err := endpoint("peer", peer, dport)
	if err != nil {
		return err
	}
	if vni != 0 {
		if err := needVNI(s.c.Model(), vni); err != nil {
			return err
		}
	}
	var byPeer map[netip.AddrPort]*api.Counters
	if stats {
		byPeer = map[netip.AddrPort]*api.Counters{}
		for _, p := range s.c.sw.PeerStats() {
			c := counters(p.Counters)
			byPeer[p.Peer] = &c
		}
	}
	var list []api.Peer
	known := false
	for _, i := range s.c.sw.Peers() {
		if filter.Addr().IsValid() && !matchPeer(i.Addr, filter) {
			continue
		}
		known = true
		if vni != 0 && !slices.Contains(i.VNIs, vni) {
			continue
		}
		out := peerInfo(i)
		out.Stats = byPeer[i.Addr]
		list = append(list, out)
	}
	if filter.Addr().IsValid() && !known {
		return noPeer(filter)
	}
	return replyList(w, list, func(p api.Peer) api.Peer { return p })
}

func noPeer(p netip.AddrPort) error {
	return model.NotFound("peers/0/peer", "peer %s is not known: see peer show", peerFilterText(p))
}

func (s *server) addPeer(w http.ResponseWriter, r *http.Request) error {
	var spec api.PeerSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	if spec.Peer == "" {
		return malformed("peer", "peer is missing")
	}
	p, err := endpoint("peer", spec.Peer, spec.DPort)
	if err != nil {
		return err
	}
	vni, err := needed("vni", number(spec.VNI), model.ParseVNI)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return addPeer(m, vni, p) }); err != nil {
		return err
	}
	return created(w)
}

func (s *server) deletePeer(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "vni", "dport")
	vni := parsed(q, "vni", model.ParseVNI)
	dport := parsed(q, "dport", model.ParsePort)
	if q.err != nil {
		return q.err
	}
	p, err := endpoint("peer", r.PathValue("peer"), dport)
	if err != nil {
		return err
	}
	if err := s.edit.Change(func(m *model.Model) error { return delPeer(m, vni, p) }); err != nil {
		return err
	}
	return noContent(w)
}

// listStats gives a row for every port and every peer, or for those that are named.
func (s *server) listStats(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "port", "peer", "vni")
	port := parsed(q, "port", model.ParsePortName)
	peer := parsed(q, "peer", model.ParsePeer)
	vni := parsed(q, "vni", model.ParseVNI)
	if q.err != nil {
		return q.err
	}
	all := port == "" && !peer.Addr().IsValid() && vni == 0
	m := s.c.Model()
	var rows []api.Stats
	if all || port != "" {
		n := len(rows)
		ports := s.c.sw.PortStats()
		slices.SortFunc(ports, func(a, b dataplane.PortStats) int { return model.CompareNames(a.Port, b.Port) })
		for _, p := range ports {
			if all || p.Port == port {
				rows = append(rows, api.Stats{Port: p.Port, Counters: counters(p.Counters)})
			}
		}
		if !all && len(rows) == n {
			return noPort(m, port)
		}
	}
	if all || peer.Addr().IsValid() {
		n := len(rows)
		for _, p := range s.c.sw.PeerStats() {
			if all || matchPeer(p.Peer, peer) {
				rows = append(rows, api.Stats{Peer: p.Peer.Addr().String(), DPort: p.Peer.Port(), Counters: counters(p.Counters)})
			}
		}
		if !all && len(rows) == n {
			return noPeer(peer)
		}
	}
	if vni != 0 {
		n := len(rows)
		for _, v := range s.c.sw.VNIStats() {
			if v.VNI == vni {
				rows = append(rows, api.Stats{VNI: vni, Counters: counters(v.Counters)})
			}
		}
		if len(rows) == n {
			return noVNI(vni)
		}
	}
	return replyList(w, rows, func(s api.Stats) api.Stats { return s })
}

func (s *server) listDrops(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	// The strangers first: who is refused in between is in the ledger then, too.
	strangers := s.c.sw.Strangers()
	return replyList(w, dropLines(s.c.Model(), s.c.sw.Drops(), strangers), func(d api.Drop) api.Drop { return d })
}
