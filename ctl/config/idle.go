package config

import "vtepd/ctl/model"

// idle finds what the file says in vain where that would be taken for protection. It is no rule of the model: at run time the last VNI with gbp may go, and the
// lists of the top level stay for the next one.
func (f *File) idle() []*model.Error {
	g := &f.Model.Global.Settings
	if len(g.GroupDrop.V) == 0 || g.GBP.V {
		return nil
	}
	for _, v := range f.Model.VNIs {
		if v.Settings.GBP.V {
			return nil
		}
	}
	return []*model.Error{model.Invalid("gbp-drop", "gbp-drop: no VNI carries groups, so nothing would be dropped: set gbp on here, or in the VNIs that it is for")}
}
