package cli

import (
	"context"
	"fmt"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var peerObject = &object{
	name:  "peer",
	short: "peers: the other VTEPs, and whose flood list they are on",
	long:  "A peer is known while a VNI or a static entry names it, or while addresses learned from it live.",
	verbs: []*verb{peerShow, peerAdd, peerDel},
}

func peerSubject(required bool) *subject {
	return &subject{name: "IP", what: "the underlay address of a peer", required: required, parse: valid(model.ParsePeer), complete: knownPeers}
}

var peerShow = &verb{
	name: "show", aliases: []string{"list", "ls", "lst"},
	synopsis: "[IP] [vni N]",
	short:    "list peers",
	examples: []string{"vtepctl peer show", "vtepctl -s peer show vni 42", "vtepctl -d peer show"},
	subject:  peerSubject(false),
	words:    []word{vniWord("on the flood list of this VNI")},
	run: func(ctx context.Context, app *App, a *args) error {
		peers, err := app.client.Peers(ctx, a.subject(), a.number("vni"), app.stats)
		if err != nil {
			return err
		}
		return list(app, peers, func() {
			t := table{header: []string{"PEER", ">DPORT", ">MACS", "VNIS"}}
			for _, p := range peers {
				vnis := names(p.VNIs, func(n uint32) string { return fmt.Sprint(n) })
				t.row(p.Peer, fmt.Sprint(p.DPort), fmt.Sprint(p.MACs), dash(strings.Join(vnis, " ")))
				if app.details {
					t.note("%s", pathNote(p))
					t.note("fast path %s", onOff(p.FastPath)+reason(p.FastPathReason))
				}
				counterLines(&t, p.Stats)
			}
			t.print(app.Stdout)
		})
	},
}

// pathNote says what the path to a peer carries.
func pathNote(p api.Peer) string {
	switch {
	case p.NoRoute != "":
		return "nothing gets there and back: " + p.NoRoute
	case p.PMTU == 0:
		return "path MTU not known yet: the kernel is asked within two seconds"
	case p.PMTU < p.RouteMTU:
		return fmt.Sprintf("path MTU %d, said by ICMP (the route carries %d), %d inside", p.PMTU, p.RouteMTU, p.Inside)
	}
	return fmt.Sprintf("path MTU %d, %d inside", p.PMTU, p.Inside)
}

var dportWord = word{name: "dport", values: "P", help: "UDP port of the peer, where it is not the switch's", parse: valid(model.ParsePort)}

var peerAdd = &verb{
	name:     "add",
	synopsis: "IP vni N [dport P]",
	short:    "put a peer on the flood list of a VNI",
	examples: []string{"vtepctl peer add 192.0.2.3 vni 42"},
	subject:  peerSubject(true),
	words:    []word{vniWord("the VNI"), dportWord},
	check: func(a *args) error {
		if !a.has("vni") {
			return fmt.Errorf("vni is missing: a peer belongs to a VNI, so write peer add %s vni N", a.subject())
		}
		return nil
	},
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.AddPeer(ctx, api.PeerSpec{Peer: a.subject(), DPort: uint16(a.number("dport")), VNI: a.number("vni")})
	},
}

var peerDel = &verb{
	name: "del", aliases: []string{"delete", "remove"},
	synopsis: "IP [vni N] [dport P]",
	short:    "take a peer off the flood list of a VNI, or of every VNI",
	examples: []string{"vtepctl peer del 192.0.2.3 vni 42", "vtepctl peer del 192.0.2.3"},
	subject:  peerSubject(true),
	words:    []word{vniWord("only off this VNI"), dportWord},
	run: func(ctx context.Context, app *App, a *args) error {
		return app.client.DeletePeer(ctx, api.PeerSpec{Peer: a.subject(), DPort: uint16(a.number("dport")), VNI: a.number("vni")})
	},
}
