package xdp

import (
	"slices"
	"strings"
	"testing"

	"vtepd/dataplane/ethtool"
)

// What joins segments, by what a device says of itself.
func TestJoiners(t *testing.T) {
	cell, both, late := []joiner{byCell}, []joiner{byXDP, byCell}, []joiner{byCell, byXDP}
	for _, c := range []struct {
		driver   string
		gro, tso bool
		features string
		want     []joiner
		reason   string // a part of it; empty for none
	}{
		{"ice", true, true, "tx-udp_tnl-segmentation", both, ""},
		{"ice", false, true, "tx-udp_tnl-segmentation", cell, "generic-receive-offload of eth0 is off"},
		{"bnxt_en", true, true, "tx-udp_tnl-segmentation rx-gro-hw", cell, "would end rx-gro-hw of eth0"},
		{"vmxnet3", true, true, "rx-lro", cell, "would end rx-lro of eth0"},
		{"vmxnet3", true, true, "", both, ""},
		{"vmxnet3", false, true, "rx-lro", cell, "would end rx-lro of eth0"},
		{"virtio_net", true, true, "", both, ""},
		{"virtio_net", false, true, "", late, ""},
		{"virtio_net", true, true, "rx-gro-hw", cell, "would end rx-gro-hw of eth0"},
		{"virtio_net", true, true, "rx-gro-hw tx-udp_tnl-segmentation", nil, "carries superframes whole"},
		{"virtio_net", true, false, "rx-gro-hw tx-udp_tnl-segmentation", cell, "would end rx-gro-hw of eth0"},
		{"veth", true, true, "tx-udp_tnl-segmentation", nil, "carries superframes whole"},
		{"veth", true, true, "", cell, "left unfinished"},
		{"veth", false, true, "", cell, ""},
		{"tun", true, true, "", both, ""},
		{"bonding", true, true, "tx-udp_tnl-segmentation rx-lro", cell, "to the devices below"},
	} {
		d := traits{name: "eth0", driver: c.driver, gro: c.gro, tso: c.tso, features: map[string]ethtool.Feature{}}
		for _, name := range strings.Fields(c.features) {
			d.features[name] = ethtool.Feature{On: true}
		}
		got, reason := d.joiners()
		if !slices.Equal(got, c.want) || !strings.Contains(reason, c.reason) || c.reason == "" && reason != "" {
			t.Errorf("%s, gro %v, tso %v, %q: %v, %q; want %v, %q", c.driver, c.gro, c.tso, c.features, got, reason, c.want, c.reason)
		}
	}
}
