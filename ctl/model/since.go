package model

import (
	"maps"
	"reflect"
	"slices"
)

// Changes are what differs between two models, and what that may concern.
type Changes struct {
	// Global: the top level differs.
	Global bool
	// VLANs: a VLAN came, left or became another VNI. VLANsLost: one left or became another.
	VLANs, VLANsLost bool
	// VNIs are those declared by themselves that came or differ, ascending. Undeclared: a VNI is not declared any more, by itself or by a VLAN.
	VNIs       []uint32
	Undeclared bool
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
		VLANs:   !maps.Equal(m.VLANs, old.VLANs),
		Statics: m.Statics.Since(&old.Statics),
	}
	v := validation{m: m} // for what it knows of declared VNIs
	if c.VLANs {
		c.vlans(&v, old)
	}
	for n, v := range m.VNIs {
		if o, ok := old.VNIs[n]; !ok || o != v {
			c.VNIs = append(c.VNIs, n)
		}
	}
	for n := range old.VNIs {
		if _, ok := m.VNIs[n]; ok {
			continue
		}
		if v.declares(n) {
			c.Named = append(c.Named, n)
		} else {
			c.Undeclared = true
		}
	}
	for name, p := range m.Ports {
		if o, ok := old.Ports[name]; !ok || o != p {
			c.Ports = append(c.Ports, name)
		}
	}
	for name := range old.Ports {
		if _, ok := m.Ports[name]; !ok {
			c.PortsGone = append(c.PortsGone, name)
		}
	}
	slices.Sort(c.Named)
	c.Named = slices.Compact(c.Named)
	slices.Sort(c.VNIs)
	slices.SortFunc(c.Ports, CompareNames)
	slices.SortFunc(c.PortsGone, CompareNames)
	return c
}

func (c *Changes) vlans(v *validation, old *Model) {
	m := v.m
	for vid, n := range m.VLANs {
		if o, ok := old.VLANs[vid]; (!ok || o != n) && m.VNIs[n] == nil {
			c.Named = append(c.Named, n)
		}
	}
	for vid, n := range old.VLANs {
		if now, ok := m.VLANs[vid]; !ok || now != n {
			c.VLANsLost = true
			c.Undeclared = c.Undeclared || !v.declares(n)
		}
	}
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
	v := validation{m: m, apart: apart}
	switch {
	case c.Global:
		v.vniKeys, v.portNames, v.staticKeys = slices.Sorted(maps.Keys(m.VNIs)), m.PortNames(), m.StaticKeys()
	case c.VLANsLost:
		v.vniKeys, v.portNames, v.staticKeys = c.VNIs, m.PortNames(), m.StaticKeys()
	case c.Undeclared:
		v.vniKeys, v.portNames, v.staticKeys = c.VNIs, m.PortNames(), m.staticsConcerned(old, c)
	default:
		v.vniKeys, v.portNames = c.VNIs, m.portsConcerned(old, c)
		v.staticKeys = m.staticsConcerned(old, c)
	}
	v.all()
	return v.problems
}

// portsConcerned lists the ports that differ and, where a VNI has come to carry no groups, those that have a list of groups.
func (m *Model) portsConcerned(old *Model, c Changes) []string {
	silenced := func(n uint32) bool { return old.CarriesGroups(n) && !m.CarriesGroups(n) }
	if !slices.ContainsFunc(c.VNIs, silenced) && !slices.ContainsFunc(c.Named, silenced) {
		return c.Ports
	}
	names := slices.Clone(c.Ports)
	for name, p := range m.Ports {
		if len(p.GBPDrop) > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, CompareNames)
	return slices.Compact(names)
}

// staticsConcerned lists the static entries that differ, those at ports that left or left a VNI, and those in VNIs that are not declared any more.
func (m *Model) staticsConcerned(old *Model, c Changes) []StaticKey {
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
	for _, name := range c.Ports {
		o := old.Ports[name]
		if o == nil {
			continue
		}
		now := m.PortVNIs(m.Ports[name])
		for _, n := range old.PortVNIs(o) {
			if !slices.Contains(now, n) {
				ports[name] = true
			}
		}
	}
	if len(ports) == 0 && !c.Undeclared {
		return keys
	}
	// A batch that deletes thousands of VNIs comes here for each: what is asked of every entry is no more than this.
	var declared map[uint32]struct{}
	if c.Undeclared {
		declared = m.DeclaredSet()
	}
	for k, s := range m.Statics.All() {
		_, ok := declared[k.VNI]
		if ports[s.Port] || c.Undeclared && !ok {
			keys = append(keys, k)
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
