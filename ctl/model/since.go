package model

import (
	"reflect"
	"slices"
)

// Changes are what differs between two models, and what that may concern.
type Changes struct {
	// Global: the top level differs.
	Global bool
	// VLANs came, left or became another VNI, ascending.
	VLANs []uint16
	// VNIs are those declared by themselves that came or differ, ascending. Undeclared are not declared any more, by themselves or by a VLAN, ascending.
	VNIs, Undeclared []uint32
	// Named are VNIs that only VLANs declare and whose VLANs or own declaration changed, ascending.
	Named []uint32
	// Ports came or differ, PortsGone left; both by name.
	Ports, PortsGone []string
	// Statics came, left or differ, by VNI, then MAC.
	Statics []StaticKey
}

// Since finds what differs from old. Of what a Clone shares with its origin it looks at the pointer alone.
func (m *Model) Since(old *Model) Changes {
	c := Changes{
		Global:  !reflect.DeepEqual(m.Global, old.Global),
		VLANs:   m.VLANs.Since(&old.VLANs.Table),
		Statics: m.Statics.Since(&old.Statics),
	}
	for _, vid := range c.VLANs {
		if n, ok := m.VLANs.Get(vid); ok && !m.VNIs.Has(n) {
			c.Named = append(c.Named, n)
		}
		if n, ok := old.VLANs.Get(vid); ok && !m.HasVNI(n) {
			c.Undeclared = append(c.Undeclared, n)
		}
	}
	for _, n := range m.VNIs.Since(&old.VNIs.Table) {
		switch {
		case m.VNIs.Has(n):
			c.VNIs = append(c.VNIs, n)
		case m.HasVNI(n):
			c.Named = append(c.Named, n)
		default:
			c.Undeclared = append(c.Undeclared, n)
		}
	}
	for _, name := range m.Ports.Since(&old.Ports) {
		if m.Ports.Has(name) {
			c.Ports = append(c.Ports, name)
		} else {
			c.PortsGone = append(c.PortsGone, name)
		}
	}
	slices.Sort(c.VLANs)
	slices.Sort(c.VNIs)
	slices.Sort(c.Named)
	c.Named = slices.Compact(c.Named)
	slices.Sort(c.Undeclared)
	c.Undeclared = slices.Compact(c.Undeclared)
	slices.SortFunc(c.Ports, CompareNames)
	slices.SortFunc(c.PortsGone, CompareNames)
	slices.SortFunc(c.Statics, CompareStatics)
	return c
}

// CheckSince is Check for a model that came of a valid one: it looks only at what differs and at what names that, and says the same. It must be kept
// so: a rule about one VNI, port or static entry goes where the others of its kind are, and may look at the objects that it names; a rule
// about several, such as a sum, goes beside those that are checked in any case.
func (m *Model) CheckSince(old *Model, c Changes) error {
	return first(m.validateSince(old, c, len(c.Ports) == 0))
}

// CheckStep is CheckSince for one of several steps, after which two ports may want one name until the next: CheckEnds looks at that when all are done.
func (m *Model) CheckStep(old *Model, c Changes) error { return first(m.validateSince(old, c, true)) }

// CheckEnds says which port's interfaces are to be called as those of another in the same namespace.
func (m *Model) CheckEnds() error {
	v := validation{m: m}
	v.ends()
	return first(v.problems)
}

func first(problems []*Error) error {
	if len(problems) > 0 {
		return problems[0]
	}
	return nil
}

// validateSince finds what CheckSince and CheckStep tell the first of.
func (m *Model) validateSince(old *Model, c Changes, apart bool) []*Error {
	v := validation{m: m, apart: apart, vids: c.VLANs, vniKeys: c.VNIs}
	if c.Global {
		v.vniKeys, v.portNames, v.staticKeys = slices.Sorted(m.VNIs.Keys()), m.PortNames(), m.StaticKeys()
	} else {
		v.before = &old.VNIs
		v.portNames = m.portsConcerned(old, c)
		v.staticKeys = m.staticsConcerned(old, c, v.portNames)
	}
	v.all()
	return v.problems
}

// portsConcerned lists the ports that differ, those that name a VLAN that left or became another VNI, or a VNI that is not declared any more, and, where
// a VNI has come to carry no groups, those that have a list of groups.
func (m *Model) portsConcerned(old *Model, c Changes) []string {
	silenced := func(n uint32) bool { return old.CarriesGroups(n) && !m.CarriesGroups(n) }
	groups := slices.ContainsFunc(c.VNIs, silenced) || slices.ContainsFunc(c.Named, silenced)
	var lost []uint16
	for _, vid := range c.VLANs {
		if old.VLANs.Has(vid) {
			lost = append(lost, vid)
		}
	}
	if !groups && len(lost) == 0 && len(c.Undeclared) == 0 {
		return c.Ports
	}
	names := slices.Clone(c.Ports)
	for name, p := range m.Ports.All() {
		if groups && len(p.GBPDrop) > 0 || c.undeclares(p.VNI) || slices.ContainsFunc(lost, p.Names) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, CompareNames)
	return slices.Compact(names)
}

func (c *Changes) undeclares(n uint32) bool {
	_, found := slices.BinarySearch(c.Undeclared, n)
	return found
}

// staticsConcerned lists the static entries that differ, those at ports that left or left a VNI, and those in VNIs that are not declared any more.
// concerned are the ports of portsConcerned.
func (m *Model) staticsConcerned(old *Model, c Changes, concerned []string) []StaticKey {
	var keys []StaticKey
	for _, k := range c.Statics {
		if m.Statics.Has(k) {
			keys = append(keys, k)
		}
	}
	ports := map[string]bool{}
	for _, name := range c.PortsGone {
		ports[name] = true
	}
	for _, name := range concerned {
		o := old.Ports.At(name)
		if o == nil {
			continue
		}
		now := m.PortVNIs(m.Ports.At(name))
		for _, n := range old.PortVNIs(o) {
			if _, stays := slices.BinarySearch(now, n); !stays {
				ports[name] = true
			}
		}
	}
	if len(ports) == 0 && len(c.Undeclared) == 0 {
		return keys
	}
	// A batch that deletes thousands of VNIs or ports comes here for each: what is asked of every entry is no more than this.
	if len(c.Undeclared) > 0 {
		for k := range m.Statics.Keys() {
			if c.undeclares(k.VNI) {
				keys = append(keys, k)
			}
		}
	}
	if len(ports) > 0 {
		for k, s := range m.Statics.All() {
			if s.Port != "" && ports[s.Port] {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, CompareStatics)
	return slices.Compact(keys)
}

// NormalizeSince is Normalize where old is normal and only c differs.
func (m *Model) NormalizeSince(c Changes) {
	for _, n := range c.VNIs {
		m.normalizeVNI(n)
	}
	for _, k := range c.Statics {
		m.normalizeStatic(k)
	}
}
