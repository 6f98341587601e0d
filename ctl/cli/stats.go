package cli

import (
	"context"
	"fmt"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var statsObject = &object{
	name:  "stats",
	short: "counters of ports, peers and VNIs",
	verbs: []*verb{{
		name: "show", aliases: []string{"list", "ls", "lst"},
		synopsis: "[port NAME] [peer IP] [vni N]",
		short:    "show counters of every port and peer, or of what is named",
		long: "rx is what entered the switch from a port or arrived from a peer. A superframe of N segments counts as N packets;\n" +
			"bytes are those of the inner Ethernet frames.",
		examples: []string{"vtepctl stats show", "vtepctl -j stats show port tap0"},
		words: []word{
			portWord("of this port"),
			{name: "peer", values: "IP", help: "of this peer", parse: valid(model.ParsePeer), complete: knownPeers},
			vniWord("of this VNI"),
		},
		run: func(ctx context.Context, app *App, a *args) error {
			rows, err := app.client.Stats(ctx, api.StatsFilter{Port: a.get("port"), Peer: a.get("peer"), VNI: a.number("vni")})
			if err != nil {
				return err
			}
			return list(app, rows, func() {
				t := table{header: []string{"OF", ">RX-PACKETS", ">RX-BYTES", ">RX-DROPPED", ">TX-PACKETS", ">TX-BYTES", ">TX-DROPPED"}}
				ports := make(map[string]int) // rows of a peer's address: one for each of its UDP ports
				for _, r := range rows {
					ports[r.Peer]++
				}
				for _, r := range rows {
					what := "port " + r.Port
					switch {
					case r.Peer != "" && (ports[r.Peer] > 1 || r.DPort != vxlanPort):
						what = fmt.Sprintf("peer %s dport %d", r.Peer, r.DPort)
					case r.Peer != "":
						what = "peer " + r.Peer
					case r.VNI != 0:
						what = fmt.Sprintf("vni %d", r.VNI)
					}
					t.row(what, fmt.Sprint(r.RxPackets), fmt.Sprint(r.RxBytes), fmt.Sprint(r.RxDropped),
						fmt.Sprint(r.TxPackets), fmt.Sprint(r.TxBytes), fmt.Sprint(r.TxDropped))
				}
				t.print(app.Stdout)
			})
		},
	}},
}
