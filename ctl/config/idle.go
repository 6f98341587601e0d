package config

import (
	"slices"

	"vtepd/ctl/model"
)

// idle finds what the file says in vain where that would be taken for protection. It is no rule of the model: at run time the last VNI with gbp may go, and the
// lists stay for the next one.
func (f *File) idle() (list []*model.Error) {
	m := f.Model
	g := &m.Global.Settings
	carries := func(n uint32) bool {
		if v := m.VNIs[n]; v != nil && v.Settings.GBP.Set {
			return v.Settings.GBP.V
		}
		return g.GBP.V
	}
	if len(g.GBPDrop.V) > 0 && !g.GBP.V && !slices.ContainsFunc(m.Declared(), carries) {
		list = append(list, model.Invalid("gbp-drop", "gbp-drop: no VNI carries groups, so nothing would be dropped: set gbp on here, or in the VNIs that it is for"))
	}
	for _, name := range m.PortNames() {
		if p := m.Ports[name]; len(p.GBPDrop) > 0 && !slices.ContainsFunc(m.PortVNIs(p), carries) {
			list = append(list, model.Invalid("ports/"+name+"/gbp-drop", "port %s has gbp-drop, but no VNI of it carries groups, so nothing would be dropped: set gbp on in the VNI", name))
		}
	}
	return list
}
