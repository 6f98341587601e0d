package dataplane

// TakeOver has the fast path go on from where a former process was killed: what that one knew is learned where it still holds, the programs that carry
// with its maps are exchanged for ours in one step each, and what is left of it goes. Call it when the first configuration is complete. Without a former
// process nothing happens. Without a fast path of our own the former one is taken down.
func (s *Switch) TakeOver() error {
	var err error
	s.fast.do(func() { err = s.fast.takeOver() })
	return err
}

func (m *mirror) takeOver() error {
	if m.held {
		m.held, m.former = false, nil
		m.recheckPorts = true
		m.s.fast.round()
	}
	return m.e.Commit()
}
