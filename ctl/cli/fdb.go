package cli

import (
	"context"
	"fmt"

	"vtepd/ctl/api"
	"vtepd/ctl/client"
	"vtepd/ctl/model"
)

const floodMAC = "00:00:00:00:00:00"

var macSubject = &subject{name: "MAC", what: "a MAC address", required: true, parse: valid(model.ParseMAC)}

func vniWord(help string) word {
	return word{name: "vni", values: "N", help: help, parse: valid(model.ParseVNI), complete: knownVNIs}
}

func portWord(help string) word {
	return word{name: "port", values: "NAME", help: help, parse: valid(model.ParsePortName), complete: knownPorts}
}

func dstWords(help string) []word {
	return []word{
		{name: "dst", values: "IP", help: help, parse: valid(model.ParsePeer), complete: knownPeers},
		{name: "dport", values: "P", help: "UDP port of the peer, where it is not the switch's", parse: valid(model.ParsePort)},
	}
}

var stateWords = []word{
	{name: "static", help: "never ages; a frame from it elsewhere is dropped"},
	{name: "sticky", help: "never ages and does not move; a frame from it elsewhere is forwarded"},
	{name: "dynamic", help: "ages and moves as if it had been learned"},
}

var fdbObject = &object{
	name:  "fdb",
	short: "forwarding entries: which MAC is where",
	long:  "The all-zero MAC stands for the flood list: its entries are the peers of a VNI (see vtepctl peer).",
	verbs: []*verb{fdbShow, fdbPut("add"), fdbPut("replace"), fdbPut("append"), fdbDel, fdbGet, fdbFlush},
}

var fdbShow = &verb{
	name: "show", aliases: []string{"list", "ls", "lst"},
	synopsis: "[vni N] [port NAME] [dst IP [dport P]] [mac MAC] [static|dynamic]",
	short:    "list entries",
	long:     "static includes sticky entries; the flood list is shown when neither static nor dynamic is given.",
	examples: []string{"vtepctl fdb show", "vtepctl fdb show vni 42 dynamic", "vtepctl -j fdb show dst 192.0.2.2"},
	words: append(append([]word{vniWord("of this VNI"), portWord("behind this port")}, dstWords("behind this peer")...),
		word{name: "mac", values: "MAC", help: "of this address", parse: valid(model.ParseMAC)},
		word{name: "static", help: "static and sticky entries"}, word{name: "dynamic", help: "dynamic entries"}),
	check: checkFilter,
	run: func(ctx context.Context, app *App, a *args) error {
		entries, err := app.client.FDB(ctx, filter(a))
		if err != nil {
			return err
		}
		return list(app, entries, func() { app.fdbTable(entries) })
	},
}

func filter(a *args) api.FDBFilter {
	return api.FDBFilter{
		VNI: a.number("vni"), MAC: a.get("mac"), Dst: a.get("dst"), DPort: uint16(a.number("dport")), Port: a.get("port"),
		Static: a.has("static"), Dynamic: a.has("dynamic"),
	}
}

// vxlanPort is the UDP port that IANA gave to VXLAN (RFC 7348 section 8).
const vxlanPort = 4789

// fdbTable prints entries. The UDP port of peers is shown when it tells something: with details, when peers differ in it, or when it is not VXLAN's.
func (a *App) fdbTable(entries []api.FDBEntry) {
	dports := map[uint16]bool{}
	for _, e := range entries {
		if e.Dst != "" {
			dports[e.DPort] = true
		}
	}
	withPort := a.details && len(dports) > 0 || len(dports) > 1 || len(dports) == 1 && !dports[vxlanPort]
	t := table{header: []string{"MAC", ">VNI", "WHERE", "STATE", ">AGE", ">MOVES"}}
	if withPort {
		t.header = []string{"MAC", ">VNI", "WHERE", ">DPORT", "STATE", ">AGE", ">MOVES"}
	}
	for _, e := range entries {
		cells := []string{e.MAC, fmt.Sprint(e.VNI), where(e)}
		if withPort {
			cells = append(cells, dash(fmt.Sprint(e.DPort)))
		}
		age := "-"
		if e.Age != nil {
			age = span(*e.Age)
		}
		moves := fmt.Sprint(e.Moves)
		if e.State == "flood" {
			moves = "-"
		}
		t.row(append(cells, e.State, age, moves)...)
		for _, m := range e.History {
			t.note("moved from %s to %s %s ago", orGone(m.From), orGone(m.To), span(m.Ago))
		}
	}
	t.print(a.Stdout)
}

func where(e api.FDBEntry) string {
	if e.Port != "" {
		return "port " + e.Port
	}
	return "dst " + e.Dst
}

func orGone(place string) string {
	if place == "" {
		return "a place that is gone"
	}
	return place
}

// span is a number of seconds as people read it: its two largest units.
func span(s int64) string {
	units := []struct {
		size int64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}}
	for i, u := range units {
		if s < u.size {
			continue
		}
		text := fmt.Sprintf("%d%s", s/u.size, u.name)
		if i+1 < len(units) {
			if rest := s % u.size / units[i+1].size; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

func checkDport(a *args) error {
	if a.has("dport") && !a.has("dst") {
		return fmt.Errorf("dport belongs to a peer: write dst IP too")
	}
	return nil
}

// checkFilter refuses both states at once as well: a script that means one of them must not flush the other too.
func checkFilter(a *args) error {
	if a.has("static") && a.has("dynamic") {
		return fmt.Errorf("static and dynamic exclude each other: give one of them, and for both two commands")
	}
	return checkDport(a)
}

func fdbPut(name string) *verb {
	v := &verb{
		name:     name,
		synopsis: "MAC vni N (dst IP [dport P] | port NAME) [static|dynamic|sticky]",
		subject:  macSubject,
		words:    append(append(append([]word{vniWord("the VNI of the entry")}, dstWords("the peer behind which MAC is")...), portWord("the port behind which MAC is")), stateWords...),
		check: func(a *args) error {
			if !a.has("vni") {
				return fmt.Errorf("vni is missing: say in which VNI, vni N")
			}
			if !a.has("dst") && !a.has("port") {
				return fmt.Errorf("the place is missing: dst IP for a peer, or port NAME")
			}
			if a.has("dst") && a.has("port") {
				return fmt.Errorf("dst and port exclude each other: an entry has one place")
			}
			n := 0
			for _, w := range stateWords {
				if a.has(w.name) {
					n++
				}
			}
			if n > 1 {
				return fmt.Errorf("static, sticky and dynamic exclude each other")
			}
			mac, _ := model.ParseMAC(a.subject())
			if mac.IsZero() && (n > 0 && !a.has("static")) {
				return fmt.Errorf("an entry of the flood list is neither sticky nor dynamic: leave the word away")
			}
			if mac.IsZero() && a.has("port") {
				return fmt.Errorf("the all-zero MAC is the flood list, which holds peers: write dst IP")
			}
			return checkDport(a)
		},
		run: func(ctx context.Context, app *App, a *args) error {
			s := api.FDBSpec{MAC: a.subject(), VNI: a.number("vni"), Dst: a.get("dst"), DPort: uint16(a.number("dport")), Port: a.get("port")}
			for _, w := range stateWords {
				if a.has(w.name) {
					s.State = w.name
				}
			}
			switch name {
			case "replace":
				return app.client.ReplaceFDB(ctx, s)
			case "append":
				if mac, _ := model.ParseMAC(s.MAC); !mac.IsZero() {
					return fmt.Errorf("%s: a unicast MAC has one place, so nothing can be appended: use fdb replace to move it (only %s, the flood list, takes several)", s.MAC, floodMAC)
				}
			}
			return app.client.AddFDB(ctx, s)
		},
	}
	switch name {
	case "add":
		v.short = "make an entry; refused when there is one"
		v.long = "Without static, dynamic or sticky the entry is static. With the all-zero MAC it adds a peer to the flood list."
		v.examples = []string{"vtepctl fdb add 02:00:00:00:00:09 vni 42 dst 192.0.2.2", "vtepctl fdb add 02:00:00:00:00:0a vni 42 port tap0 sticky"}
	case "replace":
		v.short = "make an entry, in the place of the one that is there"
		v.examples = []string{"vtepctl fdb replace 02:00:00:00:00:09 vni 42 dst 192.0.2.3"}
	case "append":
		v.short = "add a peer to the flood list of a VNI"
		v.long = "The same as vtepctl peer add, for those who know bridge fdb append. Only the all-zero MAC takes several places."
		v.examples = []string{"vtepctl fdb append " + floodMAC + " vni 42 dst 192.0.2.3"}
	}
	return v
}

var fdbDel = &verb{
	name: "del", aliases: []string{"delete", "remove"},
	synopsis: "MAC vni N [dst IP [dport P]]",
	short:    "remove an entry",
	long:     "With dst, only an entry that points there. The all-zero MAC needs dst: it stands for every peer of the VNI.",
	examples: []string{"vtepctl fdb del 02:00:00:00:00:09 vni 42"},
	subject:  macSubject,
	words:    append([]word{vniWord("the VNI of the entry")}, dstWords("only when it points to this peer")...),
	check: func(a *args) error {
		if !a.has("vni") {
			return fmt.Errorf("vni is missing: say in which VNI, vni N")
		}
		if mac, _ := model.ParseMAC(a.subject()); mac.IsZero() && !a.has("dst") {
			return fmt.Errorf("the all-zero MAC stands for every peer of the VNI: say which one with dst IP")
		}
		return checkDport(a)
	},
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.DeleteFDB(ctx, a.number("vni"), a.subject(), a.get("dst"), uint16(a.number("dport")))
	},
}

var fdbGet = &verb{
	name:     "get",
	synopsis: "MAC vni N",
	short:    "look one entry up, with the history of its moves",
	examples: []string{"vtepctl fdb get 02:00:00:00:00:09 vni 42"},
	subject:  macSubject,
	words:    []word{vniWord("the VNI of the entry")},
	check: func(a *args) error {
		if !a.has("vni") {
			return fmt.Errorf("vni is missing: say in which VNI, vni N")
		}
		return nil
	},
	run: func(ctx context.Context, app *App, a *args) error {
		e, err := app.client.FDBEntry(ctx, a.number("vni"), a.subject())
		if err != nil {
			return err
		}
		entries := []api.FDBEntry{e}
		return list(app, entries, func() { app.fdbTable(entries) })
	},
}

var fdbFlush = &verb{
	name:     "flush",
	synopsis: "[vni N] [port NAME] [dst IP [dport P]] [mac MAC] [static|dynamic]",
	short:    "remove many entries: dynamic ones, unless static is given",
	long:     "The flood list is never flushed: see vtepctl peer del.",
	examples: []string{"vtepctl fdb flush", "vtepctl fdb flush port tap0", "vtepctl fdb flush vni 42 static"},
	words: append(append([]word{vniWord("of this VNI"), portWord("behind this port")}, dstWords("behind this peer")...),
		word{name: "mac", values: "MAC", help: "of this address", parse: valid(model.ParseMAC)},
		word{name: "static", help: "static and sticky entries"}, word{name: "dynamic", help: "dynamic entries, which is the default"}),
	check: checkFilter,
	run: func(ctx context.Context, app *App, a *args) error {
		n, err := app.client.FlushFDB(ctx, filter(a))
		if err != nil {
			return err
		}
		if app.json {
			return app.printJSON(api.Flushed{Flushed: n})
		}
		fmt.Fprintf(app.Stdout, "%s flushed\n", plural(n, "entry"))
		return nil
	},
}

// What shells propose comes from vtepd; without one there is nothing to propose.

func knownVNIs(ctx context.Context, app *App) []string {
	return known(app, func(c *client.Client) ([]string, error) {
		vnis, err := c.VNIs(ctx, false)
		return names(vnis, func(v api.VNI) string { return fmt.Sprint(v.VNI) }), err
	})
}

func knownPorts(ctx context.Context, app *App) []string {
	return known(app, func(c *client.Client) ([]string, error) {
		ports, err := c.Ports(ctx, false)
		return names(ports, func(p api.Port) string { return p.Port }), err
	})
}

func knownPeers(ctx context.Context, app *App) []string {
	return known(app, func(c *client.Client) ([]string, error) {
		peers, err := c.Peers(ctx, "", 0, false)
		return names(peers, func(p api.Peer) string { return p.Peer }), err
	})
}

func knownVLANs(ctx context.Context, app *App) []string {
	return known(app, func(c *client.Client) ([]string, error) {
		vlans, err := c.VLANs(ctx)
		return names(vlans, func(v api.VLAN) string { return fmt.Sprint(v.VID) }), err
	})
}

func known(app *App, ask func(c *client.Client) ([]string, error)) []string {
	list, err := ask(app.client)
	if err != nil {
		return nil
	}
	return list
}

func names[T any](items []T, name func(T) string) []string {
	var list []string
	for _, i := range items {
		list = append(list, name(i))
	}
	return list
}
