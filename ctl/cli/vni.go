package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var vniObject = &object{
	name:  "vni",
	short: "VNIs: the broadcast domains",
	long: "A VNI is one broadcast domain, 1 to 16777215. One without peers is a purely local segment.\n" +
		"What a VNI does not say of itself it takes from the top level of the configuration.",
	verbs: []*verb{vniShow, vniChange("add"), vniChange("set"), vniDel},
}

func vniSubject(required bool) *subject {
	return &subject{name: "N", what: "a VNI, 1 to 16777215", required: required, parse: valid(model.ParseVNI), complete: knownVNIs}
}

func (a *args) vniSubject() uint32 {
	n, _ := model.ParseVNI(a.subject())
	return n
}

var vniShow = &verb{
	name: "show", aliases: []string{"list", "ls", "lst"},
	synopsis: "[N]",
	short:    "list VNIs, or show one",
	examples: []string{"vtepctl vni show", "vtepctl -d vni show 42", "vtepctl -s vni show"},
	subject:  vniSubject(false),
	run: func(ctx context.Context, app *App, a *args) error {
		var vnis []api.VNI
		var err error
		if n := a.vniSubject(); n != 0 {
			vnis = make([]api.VNI, 1)
			vnis[0], err = app.client.VNI(ctx, n, app.stats)
		} else {
			vnis, err = app.client.VNIs(ctx, app.stats)
		}
		if err != nil {
			return err
		}
		return list(app, vnis, func() { app.vniTable(vnis) })
	},
}

func (a *App) vniTable(vnis []api.VNI) {
	t := table{header: []string{">VNI", "VLAN", ">MACS", ">AGEING", "LEARNING", "POLICY", "PEERS"}}
	for _, v := range vnis {
		ageing := "never"
		if v.Ageing != 0 {
			ageing = span(v.Ageing)
		}
		t.row(fmt.Sprint(v.VNI), dash(model.VIDText(v.VLANs)), fmt.Sprint(v.MACs), ageing, onOff(v.Learning), v.PeerPolicy, dash(strings.Join(floodText(v), " ")))
		if a.details {
			limit := ""
			if v.MaxMACs != 0 {
				limit = fmt.Sprintf(", max-macs %d", v.MaxMACs)
			}
			if len(v.Flood) == 0 {
				limit += ", flood none"
			} else if len(v.Flood) < 3 {
				limit += ", flood " + strings.Join(v.Flood, ",")
			}
			if v.StormControl != "off" {
				limit += ", storm-control " + v.StormControl
			}
			if v.GBP {
				limit += ", gbp on"
			}
			if v.GPE {
				limit += ", gpe on"
			}
			if len(v.GBPDrop) > 0 {
				limit += ", gbp-drop " + strings.Join(v.GBPDrop, ",")
			}
			if len(v.Allow) > 0 {
				limit += ", allow " + strings.Join(v.Allow, " ")
			}
			groupNote(&t, v)
			t.note("ttl %s, dscp %s, ecn %s, udp-checksum %s, udp6-zero-checksum %s", v.TTL, v.DSCP, v.ECN, v.UDPChecksum, v.UDP6ZeroChecksum)
			t.note("reserved-bits %s, inner-vlan %s, mss-clamp %s, spoof-guard %s%s", v.ReservedBits, v.InnerVLAN, v.MSSClamp, onOff(v.SpoofGuard), limit)
		}
		if a.details {
			t.note("fast path %s", onOff(v.FastPath)+reason(v.FastPathReason))
		}
		counterLines(&t, v.Stats)
	}
	t.print(a.Stdout)
}

// floodText lists the flood destinations of a VNI.
func floodText(v api.VNI) []string {
	list := slices.Clone(v.Peers)
	if v.Group != nil {
		list = append(list, "group "+*v.Group)
	}
	return list
}

func groupNote(t *table, v api.VNI) {
	if v.Group == nil {
		return
	}
	where := "not joined: its interface is missing"
	if v.GroupInterface != "" {
		where = "joined on " + v.GroupInterface
	}
	t.note("group %s %s, group-ttl %s", *v.Group, where, v.GroupTTL)
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func vniChange(name string) *verb {
	v := &verb{
		name:     name,
		synopsis: "N [peer IP]... [group IP] [ageing D] [learning on|off] [peer-policy strict|learn] ...",
		subject:  vniSubject(true),
		words: []word{
			{name: "peer", values: "IP[:PORT]", help: "a member of the flood list; may be given several times", repeat: true, parse: valid(model.ParsePeer), complete: knownPeers},
			{name: "group", values: "IP[:PORT]|none", help: "multicast group that floods it, beside the peers; none takes it away", parse: orNone(valid(model.ParseMulticast))},
		},
		run: func(ctx context.Context, app *App, a *args) error {
			s := api.VNISpec{VNI: a.vniSubject()}
			if a.has("peer") {
				peers := a.values["peer"]
				s.Peers = peers
			}
			if a.has("allow") {
				allow := []string{}
				if v := a.get("allow"); v != "default" {
					allow = strings.Split(v, ",")
				}
				s.Allow = allow
			}
			s.Group = api.Value(a.get("group"))
			for _, named := range s.Settings() {
				*named.Value = api.Value(a.get(named.Name))
			}
			if name == "set" {
				return app.client.SetVNI(ctx, s)
			}
			return app.client.AddVNI(ctx, s)
		},
	}
	for _, set := range model.SettingTable {
		v.words = append(v.words, word{
			name: set.Name, values: set.Values, help: set.Help,
			parse: orDefault(func(text string) error { return set.Parse(&model.Settings{}, text) }),
		})
	}
	switch name {
	case "add":
		v.short = "declare a VNI"
		v.long = "What is not given is taken from the top level of the configuration."
		v.examples = []string{"vtepctl vni add 42 peer 192.0.2.2 peer 192.0.2.3", "vtepctl vni add 43 ageing 60s ttl inherit"}
	case "set":
		v.short = "change a VNI; what is not named stays"
		v.long = "peer gives the whole flood list; single peers come and go with vtepctl peer add and del.\nThe value default takes a setting back to the top level of the configuration."
		v.examples = []string{"vtepctl vni set 42 ageing 10m learning off", "vtepctl vni set 42 ageing default"}
		v.check = func(a *args) error {
			if len(a.values) == 0 {
				return fmt.Errorf("nothing to change: name at least one word")
			}
			return nil
		}
	}
	return v
}

var vniDel = &verb{
	name: "del", aliases: []string{"delete", "remove"},
	synopsis: "N",
	short:    "remove a VNI with its peers and entries; refused while a port is in it",
	examples: []string{"vtepctl vni del 42"},
	subject:  vniSubject(true),
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.DeleteVNI(ctx, a.vniSubject())
	},
}
