package netdev

import (
	"encoding/binary"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
	"vtepd/dataplane/ethtool"
)

// describeOther fills in what of a veth pair's other end counts for this one. The kernel passes nothing through a pair that is more than the end takes where it
// comes out, and says so to nobody (is_skb_forwardable). Needs the lock.
func (d *Device) describeOther(link netlink.Link, attr *device.Attr) {
	if link.Type() != "veth" || link.Attrs().ParentIndex == 0 {
		return
	}
	ns, err := socketNetNS(d.sockets[0])
	if err != nil {
		return
	}
	defer unix.Close(ns)
	where := ns
	if device.IsOwnNetNS(ns) {
		where = -1
	}
	_ = device.Within(where, func() error {
		a := link.Attrs()
		attr.OtherMTU = otherMTU(a)
		attr.Whole = d.pair == nil && a.NetNsID >= 0 && passesWhole(a.Index)
		return nil
	})
}

// whole are the features of a veth that have TCP superframes pass its queue uncut, those that came in a tunnel among them, whose kind they keep without it.
var whole = []string{
	"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation",
}

// passesWhole is for a thread in the namespace of the interface.
func passesWhole(ifindex int) bool {
	d, err := ethtool.OpenIndex(ifindex)
	if err != nil {
		return false
	}
	defer d.Close()
	features, err := d.Features()
	return err == nil && !slices.ContainsFunc(whole, func(name string) bool { return !features[name].On })
}

// otherMTU is the MTU of the end that a is not of, in bytes, whichever namespace that is in; 0 where it cannot be told. It is for a thread in the namespace of the
// end that a is of.
func otherMTU(a *netlink.LinkAttrs) int {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	ask := nl.NewIfInfomsg(unix.AF_UNSPEC)
	ask.Index = int32(a.ParentIndex)
	r.AddData(ask)
	if a.NetNsID >= 0 {
		var id [4]byte
		binary.NativeEndian.PutUint32(id[:], uint32(a.NetNsID))
		r.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, id[:]))
	}
	answers, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil || len(answers) != 1 {
		return 0
	}
	other, err := netlink.LinkDeserialize(nil, answers[0])
	// Linux before 4.20 looks in the namespace of the caller.
	if err != nil || other.Type() != "veth" || other.Attrs().ParentIndex != a.Index {
		return 0
	}
	return other.Attrs().MTU
}
