package netdev

import (
	"bytes"
	"cmp"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"

	"vtepd/dataplane/device"
)

// left is the other end of a pair as a former process left it.
type left struct {
	found
	added      []netip.Prefix // by us
	ipv4, ipv6 int            // bounds of superframes, see device.SetSuperframes
}

func lookAtLeft(there *netlink.Handle, peer netlink.Link) (*left, error) {
	addrs, err := device.SettledAddresses(there, peer)
	a := peer.Attrs()
	l := &left{found: foundAt(peer, addrs), ipv6: int(a.GSOMaxSize)}
	l.ipv4 = cmp.Or(int(a.GSOIPv4MaxSize), l.ipv6)
	return l, err
}

// giveBack makes the end what it was; ns is its namespace, -1 for the calling thread's.
func (l *left) giveBack(ns int, there *netlink.Handle, end netlink.Link) error {
	now := end.Attrs()
	err := device.RemoveAddresses(there, end, l.added)
	if l.ipv6 != 0 { // the kernel says what they are
		err = errors.Join(err, device.SetSuperframes(there, end, l.ipv4, l.ipv6))
	}
	return errors.Join(err, device.Within(ns, func() error {
		return l.found.giveBack(there, end, !bytes.Equal(now.HardwareAddr, l.mac), now.MTU != l.mtu)
	}))
}

// Abandon is Close for who took a pair up and does not go on with it: one that a former process left stays, as it was found.
func (d *Device) Abandon() error {
	if d.pair == nil || d.pair.left == nil {
		return d.Close()
	}
	return d.end(func(h *netlink.Handle, link netlink.Link) error {
		err := d.pair.peerIn(h, link, d.pair.left.giveBack)
		if errors.Is(err, ErrUnfit) {
			err = nil // the workload has it elsewhere by now
		}
		return errors.Join(err, d.giveBack(h, link), d.letGo())
	}, d.letGo)
}
