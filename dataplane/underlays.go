package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"vtepd/dataplane/underlay"
)

// families is how many address families there are: IPv4 is number 0, IPv6 number 1.
const families = 2

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// underlays are the sockets by address family; nil where the switch has no address of one.
type underlays [families]*underlay.Sockets

// openUnderlays opens the sockets of every local address.
func openUnderlays(c *Config) (underlays, error) {
	var all underlays
	for _, local := range c.Locals() {
		u, err := underlay.Open(underlay.Config{
			Local:         local,
			VRF:           c.VRF,
			Port:          c.DstPort,
			MorePorts:     c.Listen,
			SourceRange:   c.SourcePorts,
			FlowLabels:    c.FlowLabels,
			Receivers:     c.Workers,
			Offload:       c.Offload,
			TTL:           DefaultTTL,
			ZeroChecksum6: c.UDP6ZeroChecksumRx,
			Refuse:        c.refuseUnderlay,
		})
		if err != nil {
			all.Close()
			return underlays{}, c.blame(err, local)
		}
		all[familyOf(local)] = u
	}
	return all, nil
}

// blame says which field an error of the sockets of a local address is about.
func (c *Config) blame(err error, local netip.Addr) error {
	var bind *underlay.BindError
	switch {
	case !errors.As(err, &bind):
		return err
	case errors.Is(err, underlay.ErrNoAddress):
		return &ConfigError{"Local", local.String(), err}
	case bind.At.Port() != c.DstPort:
		return &ConfigError{"Listen", fmt.Sprint(bind.At.Port()), err}
	}
	return &ConfigError{Field: "DstPort", error: err}
}

// open lists the sockets that there are.
func (u underlays) open() []*underlay.Sockets {
	var list []*underlay.Sockets
	for _, s := range u {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (u underlays) Close() {
	for _, s := range u.open() {
		s.Close()
	}
}

// listen has the underlay read, unless it is already.
func (s *Switch) listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listening || s.closed {
		return nil
	}
	s.listening = true
	var errs []error
	for _, w := range s.workers {
		errs = append(errs, w.listen())
	}
	for _, g := range s.groups {
		if g.joined != nil {
			errs = append(errs, s.listenTo(g))
		}
	}
	return errors.Join(errs...)
}

// Ports lists the UDP ports listened on, DstPort first.
func (c *Config) Ports() []uint16 { return append([]uint16{c.DstPort}, c.Listen...) }

// completePorts checks the ports listened on and sent from, and fills in the defaults.
func (c *Config) completePorts() error {
	if c.SourcePorts == [2]uint16{} {
		c.SourcePorts = [2]uint16{FirstSourcePort, LastSourcePort}
	}
	if c.SourcePorts[0] == 0 || c.SourcePorts[0] > c.SourcePorts[1] {
		return fmt.Errorf("source ports %d-%d: is no range: %w", c.SourcePorts[0], c.SourcePorts[1], ErrInvalid)
	}
	// Who lists DstPort too says nothing new.
	c.Listen = slices.DeleteFunc(slices.Clone(c.Listen), func(p uint16) bool { return p == c.DstPort })
	slices.Sort(c.Listen)
	c.Listen = slices.Compact(c.Listen)
	if len(c.Listen) > 0 && c.Listen[0] == 0 {
		return fmt.Errorf("listen: 0 is no UDP port: %w", ErrInvalid)
	}
	if n := len(c.Ports()); n > MaxListen {
		return fmt.Errorf("%d ports to listen on: at most %d: %w", n, MaxListen, ErrInvalid)
	}
	return nil
}

// sayNoLabels warns that flow labels were asked for in vain.
func (s *Switch) sayNoLabels() {
	if u := s.sockets[1]; s.config.FlowLabels && u != nil && !u.Caps().FlowLabel {
		s.log.Warn("no flow labels by flow: each source port has one", "reason", u.Caps().FlowLabelReason)
	}
}

// sayFewSources warns of a range of source ports that has no room for the usual number of sockets.
func (s *Switch) sayFewSources() {
	n := len(s.sockets[familyOf(s.config.Local)].SourcePorts())
	if n < underlay.DefaultSourcePorts {
		s.log.Warn("few source ports: the underlay sees as many flows, and spreads no wider over its paths",
			"range", fmt.Sprintf("%d-%d", s.config.SourcePorts[0], s.config.SourcePorts[1]), "used", n, "usual", underlay.DefaultSourcePorts)
	}
}

// Locals lists our underlay addresses, the first one first.
func (c *Config) Locals() []netip.Addr {
	if c.OtherLocal.IsValid() {
		return []netip.Addr{c.Local, c.OtherLocal}
	}
	return []netip.Addr{c.Local}
}

// localOf is our underlay address of a family, or the zero Addr.
func (c *Config) localOf(family int) netip.Addr {
	for _, a := range c.Locals() {
		if familyOf(a) == family {
			return a
		}
	}
	return netip.Addr{}
}

// isLocal says whether an underlay address is ours. Workers call it.
func (s *Switch) isLocal(a netip.Addr) bool { return a == s.config.Local || a == s.config.OtherLocal }
