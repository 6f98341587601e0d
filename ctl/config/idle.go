package config

import (
	"slices"

	"vtepd/ctl/model"
)

// idle finds what the file says in vain at the top level where that would be taken for protection. It is no rule of the model: at run time the last VNI with gbp
// may go, and the list stays for the next one.
func (f *File) idle() (list []*model.Error) {
	m := f.Model
	g := &m.Global.Settings
	if len(g.GBPDrop.V) > 0 && !g.GBP.V && !slices.ContainsFunc(m.Declared(), m.CarriesGroups) {
		list = append(list, model.Invalid("gbp-drop", "gbp-drop: no VNI carries groups, so nothing would be dropped: set gbp on here, or in the VNIs that it is for"))
	}
	return list
}
