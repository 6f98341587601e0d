package dataplane

import "vtepd/dataplane/netdev"

// ClearTheWay removes what a former process left and one of ports cannot come beside, for an end of it stands where the port's goes. Call it before the ports
// of the first configuration are added. All else stays until RemoveLeftPairs: that configuration may still be refused, and then carries on.
func (s *Switch) ClearTheWay(ports []PortConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []netdev.Place
	for _, c := range ports {
		if c.Type != PortVeth {
			others = append(others, netdev.Place{NetNS: c.NetNS, Name: c.Name})
		}
	}
	s.removeLeft(func() ([]string, error) { return netdev.RemoveInTheWay(s.config.Instance, vethsOf(ports), others) })
}

// RemoveLeftPairs removes the veth pairs that a former process made and left, save those that one of ports takes up as they are. Call it when the first
// configuration is complete, before TakeOver: the programs that keep the host from seeing what comes out of them are still there.
func (s *Switch) RemoveLeftPairs(ports []PortConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(map[int]bool, len(s.ports))
	for _, r := range s.ports {
		if r.published.link != nil {
			held[r.here] = true
		}
	}
	s.removeLeft(func() ([]string, error) { return netdev.RemoveLeft(s.config.Instance, vethsOf(ports), held) })
}

// removeLeft tells what was removed. That a pair cannot be is no reason not to start. Needs mu.
func (s *Switch) removeLeft(remove func() ([]string, error)) {
	err := s.atHome(func() error {
		removed, err := remove()
		for _, name := range removed {
			s.log.Info("veth pair of a former process removed: no port is for it", "interface", name)
		}
		return err
	})
	if err != nil {
		s.log.Warn("veth pairs of a former process stay", "error", err)
	}
}

// vethsOf are the pairs that ports are for.
func vethsOf(ports []PortConfig) (wanted []netdev.VethOptions) {
	for _, c := range ports {
		if c.Type == PortVeth {
			wanted = append(wanted, netdev.VethOptions{Options: netdev.Options{Name: c.Name}, NetNS: c.NetNS, IfName: c.IfName})
		}
	}
	return wanted
}
