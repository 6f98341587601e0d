package dataplane

import (
	"os"

	"vtepd/dataplane/netdev"
)

// Abandon is Close for a start that fails before TakeOver. What a former process left is left as it was found: its known traffic goes on, and the next start
// takes it over. What this one made itself goes.
func (s *Switch) Abandon() error {
	s.fast.abandoned.Store(true)
	if err := s.halt(); err != nil {
		return err
	}
	for _, r := range s.ports {
		if l := r.published.link; l != nil {
			s.abandon(l.dev)
		}
	}
	s.sayKept()
	s.release()
	return nil
}

// abandon closes a device that may be a former process's. A TAP goes with its process; one that was there before, and an interface that was taken, are given
// back as they were found in any case.
func (s *Switch) abandon(dev portDevice) {
	end := dev.Close
	if d, ok := dev.(*netdev.Device); ok {
		end = d.Abandon
	}
	if err := end(); err != nil {
		s.log.Warn("closing a device", "port", dev.Name(), "error", err)
	}
}

// sayKept tells of what stays without a process that looks after it, when there is something.
func (s *Switch) sayKept() {
	var pairs []string
	// What cannot be listed is not told of, and stays all the same.
	_ = s.atHome(func() (err error) {
		pairs, err = netdev.Left(s.config.Instance)
		return err
	})
	log := s.log.With("socket", s.config.Instance)
	pinned := false
	if dir := s.config.PinDir; dir != "" {
		_, err := os.Stat(dir)
		if pinned = err == nil; pinned {
			log = log.With("pins", dir)
		}
	}
	if len(pairs) > 0 || pinned {
		log.Warn("start failed: what a killed vtepd left is kept, for the next one at the same control socket", "veth_pairs", len(pairs))
	}
}
