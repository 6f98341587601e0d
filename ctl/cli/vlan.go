package cli

import (
	"context"
	"fmt"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var vlanObject = &object{
	name:  "vlan",
	short: "switch-wide VLANs: which VID means which VNI",
	long:  "A VLAN names a VNI on the wire of access and trunk ports. Adding one declares its VNI.",
	verbs: []*verb{vlanShow, vlanAdd, vlanDel},
}

func vidSubject(required bool) *subject {
	return &subject{name: "VID", what: "a VLAN ID, 1 to 4094", required: required, parse: valid(model.ParseVID), complete: knownVLANs}
}

func (a *args) vidSubject() uint16 {
	n, _ := model.ParseVID(a.subject())
	return n
}

var vlanShow = &verb{
	name: "show", aliases: []string{"list", "ls", "lst"},
	synopsis: "[VID]",
	short:    "list VLANs, or show one",
	subject:  vidSubject(false),
	run: func(ctx context.Context, app *App, a *args) error {
		var vlans []api.VLAN
		var err error
		if vid := a.vidSubject(); vid != 0 {
			vlans = make([]api.VLAN, 1)
			vlans[0], err = app.client.VLAN(ctx, vid)
		} else {
			vlans, err = app.client.VLANs(ctx)
		}
		if err != nil {
			return err
		}
		return list(app, vlans, func() {
			t := table{header: []string{">VID", ">VNI"}}
			for _, v := range vlans {
				t.row(fmt.Sprint(v.VID), fmt.Sprint(v.VNI))
			}
			t.print(app.Stdout)
		})
	},
}

var vlanAdd = &verb{
	name:     "add",
	synopsis: "VID vni N",
	short:    "name a VNI by a VLAN, and declare it when it is new",
	examples: []string{"vtepctl vlan add 10 vni 10010"},
	subject:  vidSubject(true),
	words:    []word{vniWord("the VNI that the VLAN means")},
	check: func(a *args) error {
		if !a.has("vni") {
			return fmt.Errorf("vni is missing: say which VNI the VLAN means, vni N")
		}
		return nil
	},
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.AddVLAN(ctx, api.VLAN{VID: a.vidSubject(), VNI: a.number("vni")})
	},
}

var vlanDel = &verb{
	name: "del", aliases: []string{"delete", "remove"},
	synopsis: "VID",
	short:    "remove a VLAN; refused while a port uses it",
	long:     "A VNI that only this VLAN declares goes with it.",
	examples: []string{"vtepctl vlan del 10"},
	subject:  vidSubject(true),
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.DeleteVLAN(ctx, a.vidSubject())
	},
}
