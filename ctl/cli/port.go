package cli

import (
	"context"
	"fmt"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var portObject = &object{
	name:  "port",
	short: "ports: where frames enter and leave locally",
	long: "A port is in one VNI (vni N), in one VLAN without tags (access V), or carries several VLANs with tags\n" +
		"(trunk V,V-V, whose native VLAN is the one without tag).",
	verbs: []*verb{portShow, portChange("add"), portChange("set"), portDel},
}

func portSubject(required bool) *subject {
	return &subject{name: "NAME", what: "the name of a port", required: required, parse: valid(model.ParsePortName), complete: knownPorts}
}

var portShow = &verb{
	name: "show", aliases: []string{"list", "ls", "lst"},
	synopsis: "[NAME]",
	short:    "list ports, or show one",
	examples: []string{"vtepctl port show", "vtepctl -d -s port show tap0"},
	subject:  portSubject(false),
	run: func(ctx context.Context, app *App, a *args) error {
		var ports []api.Port
		var err error
		if name := a.subject(); name != "" {
			ports = make([]api.Port, 1)
			ports[0], err = app.client.Port(ctx, name, app.stats)
		} else {
			ports, err = app.client.Ports(ctx, app.stats)
		}
		if err != nil {
			return err
		}
		return list(app, ports, func() { app.portTable(ports) })
	},
}

func (a *App) portTable(ports []api.Port) {
	t := table{header: []string{"PORT", "TYPE", "STATE", "CARRIES", ">MTU", "MAC", ">MACS", "NETNS"}}
	for _, p := range ports {
		t.row(p.Port, p.Type, p.State, carries(p), fmt.Sprint(p.MTU), dash(p.MAC), fmt.Sprint(p.MACs), dash(p.NetNS))
		switch {
		case p.Ifname == "":
		case p.Type == "veth":
			t.note("the workload's end is %s", p.Ifname)
		default:
			t.note("now called %s", p.Ifname)
		}
		if p.HostIfname != "" {
			t.note("now called %s", p.HostIfname)
		}
		if p.Reason != "" {
			t.note("missing: %s", p.Reason)
		}
		if p.Warning != "" {
			t.note("warning: %s", p.Warning)
		}
		if p.KernelDrops > 0 {
			t.note("%d frames dropped by the kernel before they were read", p.KernelDrops)
		}
		if a.details {
			line := fmt.Sprintf("ifindex %d, %s", p.Ifindex, plural(p.Queues, "queue"))
			if p.MaxMACs != 0 {
				line += fmt.Sprintf(", max-macs %d", p.MaxMACs)
			}
			if p.MSSClamp != "" {
				line += fmt.Sprintf(", mss-clamp %s", p.MSSClamp)
			}
			if p.StormControl != "" {
				line += fmt.Sprintf(", storm-control %s", p.StormControl)
			}
			if p.Isolated {
				line += ", isolated"
			}
			if p.GBPID != 0 {
				line += fmt.Sprintf(", gbp-id %d", p.GBPID)
			}
			if len(p.GBPDrop) > 0 {
				line += ", gbp-drop " + strings.Join(p.GBPDrop, ",")
			}
			if len(p.Addresses) > 0 {
				line += ", addresses " + strings.Join(p.Addresses, " ")
			}
			t.note("%s", line)
			offload := "none"
			if len(p.Offload) > 0 {
				offload = strings.Join(p.Offload, " ")
			}
			if p.OffloadReason != "" {
				offload += "; not the rest: " + p.OffloadReason
			}
			t.note("offload %s", offload)
			t.note("fast path %s", onOff(p.FastPath)+reason(p.FastPathReason))
		}
		counterLines(&t, p.Stats)
	}
	t.print(a.Stdout)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// carries says where a port belongs, in the words that put it there.
func carries(p api.Port) string {
	switch {
	case p.VNI != 0:
		return fmt.Sprintf("vni %d", p.VNI)
	case p.Access != 0:
		return fmt.Sprintf("access %d", p.Access)
	case p.Native != 0:
		return fmt.Sprintf("trunk %s native %d", model.VIDText(p.Trunk), p.Native)
	case len(p.Trunk) > 0:
		return "trunk " + model.VIDText(p.Trunk)
	}
	return "-"
}

func portChange(name string) *verb {
	v := &verb{
		name:     name,
		synopsis: "NAME [type tap|netdev|veth] (vni N | access V | trunk V,V-V [native V]) [mtu N] [mac MAC] [netns NAME] [ifname NAME] [address IP/LEN]... [max-macs N] [mss-clamp auto|off|N] [storm-control RATE|KIND=RATE,...|off] [isolated on|off] [gbp-id N] [gbp-drop ID,ID-ID|none]",
		subject:  portSubject(true),
		words:    portWords(),
		check:    func(a *args) error { return checkPort(name, a) },
		run: func(ctx context.Context, app *App, a *args) error {
			if name == "set" {
				return app.client.SetPort(ctx, portSpec(a))
			}
			return app.client.AddPort(ctx, portSpec(a))
		},
	}
	switch name {
	case "add":
		v.short = "make a port"
		v.examples = []string{
			"vtepctl port add tap0 vni 42",
			"vtepctl port add tap1 trunk 10,20-30 native 10 mtu 1450",
			"vtepctl port add tap2 access 10 netns blue address 198.51.100.1/24",
			"vtepctl port add web type veth vni 42 netns web address 198.51.100.1/24",
			"vtepctl port add eth1 type netdev trunk 10,20",
		}
	case "set":
		v.short = "change a port; what is not named stays"
		v.synopsis = "NAME [type tap|netdev|veth] [vni N | access V | trunk V,V-V] [native V] [mtu N] [mac MAC] [netns NAME] [ifname NAME] [address IP/LEN]... [max-macs N] [mss-clamp auto|off|N] [storm-control RATE|KIND=RATE,...|off] [isolated on|off] [gbp-id N] [gbp-drop ID,ID-ID|none]"
		v.long = "vni, access or trunk move the port; address gives the whole list of addresses. The value default takes native,\n" +
			"mtu, mac, netns, ifname, address, max-macs, mss-clamp, storm-control, isolated, gbp-id and gbp-drop back. Another type, netns or ifname makes the interface anew."
		v.examples = []string{"vtepctl port set tap0 vni 43", "vtepctl port set tap1 trunk 10,20 native default", "vtepctl port set tap0 mtu default"}
	}
	return v
}

func portWords() []word {
	return []word{
		{name: "type", values: "tap|netdev|veth", help: "tap and veth make an interface, netdev takes one", parse: valid(model.ParsePortType)},
		vniWord("untagged, straight into this VNI"),
		{name: "access", values: "V", help: "untagged, in this VLAN", parse: valid(model.ParseVID), complete: knownVLANs},
		{name: "trunk", values: "V,V-V", help: "tagged, these VLANs", parse: valid(model.ParseVIDs), complete: knownVLANs},
		{name: "native", values: "V", help: "the VLAN of a trunk's untagged frames", parse: orDefault(valid(model.ParseVID)), complete: knownVLANs},
		{name: "mtu", values: "N", help: "default: what the underlay leaves; on a netdev, as found", parse: orDefault(valid(model.ParseMTU))},
		{name: "mac", values: "MAC", help: "address of the interface, of the workload's end on a veth", parse: orDefault(valid(model.ParsePortMAC))},
		{name: "netns", values: "NAME", help: "move the interface, or a veth's other end, into this network namespace", parse: orDefault(valid(model.ParseNetNS))},
		{name: "ifname", values: "NAME", help: "name of a veth's other end; default eth0 with netns", parse: orDefault(valid(model.ParseIfName))},
		{name: "address", values: "IP/LEN", help: "put on the interface; may be given several times", repeat: true, parse: orDefault(valid(model.ParseInterfaceAddr))},
		{name: "max-macs", values: "N", help: "bound of the dynamic entries behind it", parse: orDefault(valid(model.ParseMaxMACs))},
		{name: "mss-clamp", values: "auto|off|N", help: "the VNI's mss-clamp for its frames", parse: orDefault(valid(model.ParseMSSClamp))},
		{name: "storm-control", values: "RATE|KIND=RATE,...|off", help: "the VNIs' storm-control for its frames", parse: orDefault(valid(model.ParseStormControl))},
		{name: "isolated", values: "on|off", help: "exchange nothing with other isolated ports", parse: orDefault(valid(model.ParseBool))},
		{name: "gbp-id", values: "N", help: "group policy ID of its frames", parse: orDefault(valid(model.ParseGBPID))},
		{name: "gbp-drop", values: "ID,ID-ID|none", help: "groups whose frames it does not get", parse: orDefault(valid(model.ParseGBPRangesOrNone))},
	}
}

// portSpec is what the words come to.
func portSpec(a *args) api.PortSpec {
	s := api.PortSpec{
		Port: a.subject(), Type: a.get("type"), VNI: api.Value(a.get("vni")), Access: api.Value(a.get("access")), Trunk: api.Value(a.get("trunk")),
		Native: api.Value(a.get("native")), MTU: api.Value(a.get("mtu")), MAC: api.Value(a.get("mac")), NetNS: api.Value(a.get("netns")),
		IfName:  api.Value(a.get("ifname")),
		MaxMACs: api.Value(a.get("max-macs")), MSSClamp: api.Value(a.get("mss-clamp")), StormControl: api.Value(a.get("storm-control")), Isolated: api.Value(a.get("isolated")), GBPID: api.Value(a.get("gbp-id")), GBPDrop: api.Value(a.get("gbp-drop")),
	}
	if a.has("address") {
		addresses := a.values["address"]
		if addresses[0] == "default" {
			addresses = []string{}
		}
		s.Addresses = addresses
	}
	return s
}

// checkPort holds the words against each other.
func checkPort(name string, a *args) error {
	n := 0
	for _, w := range []string{"vni", "access", "trunk"} {
		if a.has(w) {
			n++
		}
	}
	switch {
	case n > 1:
		return fmt.Errorf("vni, access and trunk exclude each other: a port belongs to one place")
	case n == 0 && name == "add":
		return fmt.Errorf("the place is missing: one of vni N, access V, trunk V,V-V")
	case name == "set" && len(a.values) == 0:
		return fmt.Errorf("nothing to change: name at least one word")
	case a.has("native") && (a.has("vni") || a.has("access")):
		return fmt.Errorf("native goes with trunk only")
	}
	if list := a.values["address"]; len(list) > 1 {
		for _, v := range list {
			if v == "default" {
				return fmt.Errorf("address default takes every address away: give it alone")
			}
		}
	}
	return nil
}

var portDel = &verb{
	name: "del", aliases: []string{"delete", "remove"},
	synopsis: "NAME",
	short:    "remove a port with its entries, and its interface unless it was taken",
	examples: []string{"vtepctl port del tap0"},
	subject:  portSubject(true),
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.DeletePort(ctx, a.subject())
	},
}
