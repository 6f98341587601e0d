package netdev

import (
	"encoding/binary"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// otherMTU is the MTU of the other end of a veth pair in bytes, whichever namespace that is in; 0 where there is none or it cannot be told. The kernel passes
// nothing through a pair that is more than the end takes where it comes out, and says so to nobody (is_skb_forwardable). Needs the lock.
func (d *Device) otherMTU(link netlink.Link) (mtu int) {
	if link.Type() != "veth" || link.Attrs().ParentIndex == 0 {
		return 0
	}
	ns, err := socketNetNS(d.sockets[0])
	if err != nil {
		return 0
	}
	defer unix.Close(ns)
	where := ns
	if device.IsOwnNetNS(ns) {
		where = -1
	}
	_ = device.Within(where, func() error {
		mtu = otherMTU(link.Attrs())
		return nil
	})
	return mtu
}

// otherMTU is for a thread in the namespace of the end that a is of.
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
