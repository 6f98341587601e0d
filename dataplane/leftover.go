package dataplane

import "vtepd/dataplane/netdev"

// RemoveLeftPairs removes the veth pairs that a former process made and left, save those that one of ports takes up as they are. Call it before the ports of
// the first configuration are added: what changed in it since must not find the way barred by what there was. That a pair cannot be removed is no reason not
// to start.
func (s *Switch) RemoveLeftPairs(ports []PortConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wanted []netdev.VethOptions
	for _, c := range ports {
		if c.Type == PortVeth {
			wanted = append(wanted, netdev.VethOptions{Options: netdev.Options{Name: c.Name}, NetNS: c.NetNS, IfName: c.IfName})
		}
	}
	err := s.atHome(func() error {
		removed, err := netdev.RemoveLeft(s.config.Instance, wanted)
		for _, name := range removed {
			s.log.Info("veth pair of a former process removed: no port is for it", "interface", name)
		}
		return err
	})
	if err != nil {
		s.log.Warn("veth pairs of a former process stay", "error", err)
	}
}
