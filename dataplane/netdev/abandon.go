package netdev

import (
	"bytes"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"

	"vtepd/dataplane/device"
)

// left is the other end of a pair as a former process left it.
type left struct {
	found
	added []netip.Prefix // by us
}

func lookAtLeft(there *netlink.Handle, peer netlink.Link) (*left, error) {
	addrs, err := device.SettledAddresses(there, peer)
	return &left{found: foundAt(peer, addrs)}, err
}

// giveBack makes the end what it was.
func (l *left) giveBack(there *netlink.Handle, end netlink.Link) error {
	now := end.Attrs()
	return errors.Join(device.RemoveAddresses(there, end, l.added),
		l.found.giveBack(there, end, !bytes.Equal(now.HardwareAddr, l.mac), now.MTU != l.mtu))
}

// Abandon is Close for who took a pair up and does not go on with it: one that a former process left stays, as it was found.
func (d *Device) Abandon() error {
	if d.pair == nil || d.pair.left == nil {
		return d.Close()
	}
	return d.end(func(h *netlink.Handle, link netlink.Link) error {
		err := d.pair.peer(h, link, d.pair.left.giveBack)
		if errors.Is(err, ErrUnfit) {
			err = nil // the workload has it elsewhere by now
		}
		return errors.Join(err, d.giveBack(h, link), d.letGo())
	}, d.letGo)
}
