package dataplane

import "net/netip"

// footing is what the underlay of an address family stands on.
type footing struct {
	known  bool
	ifname string // of the interface that has the local address; "": none has, or may use it
	flaw   string // dadFailed or elsewhere where that is why
	up     bool   // it is up and has a carrier
}

// footing finds out about a family.
func (s *paths) footing(family int) footing {
	list, flaw, err := s.holders(family)
	switch {
	case err != nil || !s.local[family].IsValid() || flaw == tentative: // that is decided within a second or two
		return footing{}
	case len(list) == 0:
		return footing{known: true, flaw: flaw}
	}
	return footing{known: true, ifname: list[0].Name, up: running(list[0])}
}

// tellFooting tells of an underlay that is lost, or there again. One that was there from the start is not worth a word.
func (s *Switch) tellFooting(local netip.Addr, was, now footing) {
	if now == was || !was.known && now.up {
		return
	}
	e := Event{Object: "underlay", Local: local}
	switch {
	case now.flaw == dadFailed:
		s.log.Warn("underlay address is another host's, too: nothing is sent or heard", "local", local, "reason", now.flaw)
		e.Action, e.Reason = "missing", now.flaw+": another host has it"
	case now.ifname == "":
		log := s.log.With("local", local)
		if was.ifname != "" {
			log = log.With("was_on", was.ifname)
		}
		where := absent(s.config.VRF, now.flaw)
		if s.config.VRF != "" {
			log = log.With("vrf", s.config.VRF, "hint", "a VRF that was deleted and made again is another one: restart vtepd then")
		} else if now.flaw == elsewhere {
			log = log.With("reason", where)
		}
		log.Warn("underlay address is on no interface: nothing is sent or heard")
		e.Action, e.Reason = "missing", where
	case !now.up:
		s.log.Warn("underlay interface is down", "local", local, "interface", now.ifname)
		e.Action, e.Reason = "down", now.ifname+" is down"
	default:
		s.log.Info("underlay is up", "local", local, "interface", now.ifname)
		e.Action, e.Reason = "up", "on "+now.ifname
	}
	s.event(e)
}
