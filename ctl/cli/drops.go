package cli

import (
	"context"
	"fmt"
)

var dropsObject = &object{
	name:  "drops",
	short: "dropped frames, by reason and place",
	verbs: []*verb{{
		name: "show", aliases: []string{"list", "ls", "lst"},
		short: "show how many frames were dropped, where and why",
		long: "Each dropped frame is counted once, with one reason. Below unknown_vni and unknown_peer stands who sent such datagrams of late. With -d the reasons\n" +
			"are explained.",
		examples: []string{"vtepctl drops show", "vtepctl -d drops show"},
		run: func(ctx context.Context, app *App, _ *args) error {
			drops, err := app.client.Drops(ctx)
			if err != nil {
				return err
			}
			return list(app, drops, func() {
				t := table{header: []string{"REASON", ">COUNT", "PORT", ">VNI", "PEER"}}
				for i, d := range drops {
					t.row(d.Reason, fmt.Sprint(d.Count), dash(d.Port), dash(fmt.Sprint(d.VNI)), dash(d.Peer))
					for _, s := range d.Senders {
						vni := ""
						if d.VNI == 0 {
							vni = fmt.Sprintf(" for VNI %d", s.VNI)
						}
						t.note("from %s%s: %d, the last %d s ago", s.Source, vni, s.Count, s.Age)
					}
					last := i+1 == len(drops) || drops[i+1].Reason != d.Reason
					if why, ok := explanations[d.Reason]; ok && app.details && last {
						t.note("%s", why)
					}
				}
				t.print(app.Stdout)
			})
		},
	}},
}

// explanations say what a reason means and where to look.
var explanations = map[string]string{
	"truncated_datagram":   "a datagram was larger than a receive slot: the sender's MTU does not fit",
	"bad_vxlan_header":     "not VXLAN: shorter than 8 bytes, I flag clear, or reserved bits set with reserved-bits strict",
	"unknown_vni":          "a datagram for a VNI that is not declared here",
	"gpe_version":          "a VXLAN-GPE header of another version than 0",
	"gpe_oam":              "a VXLAN-GPE OAM message: there is nobody here to answer it",
	"gpe_protocol":         "VXLAN-GPE with something else inside than an Ethernet frame",
	"own_source":           "the source is our own underlay address: a datagram of ours came back, or somebody forges it",
	"unknown_peer":         "the source is no peer of the VNI: add it (peer add), allow its prefix, or set peer-policy learn",
	"short_frame":          "less than an Ethernet header",
	"bad_offload":          "the offload header of a frame contradicts the frame",
	"link_local_multicast": "to 01:80:c2:00:00:00-0f, which bridges are not to forward",
	"vlan_not_allowed":     "the tag, or its absence, means no VNI on this port: see port show",
	"inner_vlan_tag":       "a VLAN tag inside a VNI with inner-vlan drop",
	"ecn_not_ect":          "marked congested on the way, but the inner packet does not know ECN",
	"invalid_source_mac":   "the source address is multicast or zero",
	"vxlan_spoof":          "a station sends VXLAN to a VTEP itself: see spoof-guard",
	"static_mac_elsewhere": "the source address is a static entry of another place",
	"mac_limit":            "the source address could not be learned: a max-macs is reached and nothing may make room",
	"same_place":           "the destination is where the frame came from",
	"split_horizon":        "from a peer, and the destination is behind a peer",
	"flood_disabled":       "unknown unicast, broadcast or multicast, which this VNI does not flood: see vni show",
	"storm_control":        "its source has had as much of this kind flooded of late as storm-control allows: see -d vni show and -d port show",
	"no_destination":       "nobody else is in the VNI",
	"gbp_denied":           "its group is in the gbp-drop of the VNI, or of the port it was for",
	"port_isolated":        "from an isolated port, and for another one: see -d port show",
	"too_big":              "larger than the port's MTU or than the underlay carries: lower the MTU inside, or raise the underlay's",
	"port_down":            "the interface of the port is down",
	"port_gone":            "the interface of the port has vanished",
	"port_busy":            "the port's interface took no more: its queue is full, or the other end of a veth has a smaller MTU",
	"port_refused":         "the kernel refused the frame at the port",
	"no_route":             "the underlay has no route to the peer, or our own address is on no interface: see -d peer show",
	"underlay_busy":        "the queues of the underlay stayed full",
	"underlay_refused":     "the kernel refused the datagram: a firewall, most likely; see nft list ruleset",
	"fastpath_race":        "unwrapped by the fast path when its port left",
	"fastpath_busy":        "unwrapped by the fast path, and the queue was full where segments are joined",
}
