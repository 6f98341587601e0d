package netdev

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// VethOptions say which veth pair is wanted. Options.Name is its host end, which becomes the device; Options.MTU is that of both ends (0: the kernel's
// choice), Options.MAC that of the peer end.
type VethOptions struct {
	Options
	// NetNS is where the peer end goes: a name under /run/netns or an absolute path. Empty: the present namespace.
	NetNS string
	// IfName is the name of the peer end. "": DefaultIfName where NetNS is given.
	IfName string
	// Addresses to give to the peer end.
	Addresses []netip.Prefix
	// GoingThere are as Options.Going, in the namespace of the peer end.
	GoingThere []int
}

// DefaultIfName is what a workload in a namespace of its own expects its interface to be called.
const DefaultIfName = "eth0"

// pair is the other end of a device.
type pair struct {
	netns string // as in VethOptions
	key   string // device.NetNSKey of it when the end was put there; "": that of the host end, whatever it is called
	made  bool   // to be removed with the device
	left  *left  // how it was when it was taken up from a former process; nil: made by this one
	index int    // of the other end, in that namespace
	mac   net.HardwareAddr
}

// whereabouts is what the namespace is called that the other end was put in: as it was then, or otherwise where it was renamed since.
func (p *pair) whereabouts() string {
	if p.key == "" || device.NetNSKey(p.netns) == p.key {
		return p.netns
	}
	return cmp.Or(device.NetNSByKey(p.key), p.netns)
}

// tunnels are the features of a veth end that make its namespace's stack leave frames to us that a virtio-net header cannot tell: tunnels with a
// superframe inside, and SCTP.
var tunnels = []string{
	"tx-gre-segmentation", "tx-gre-csum-segmentation", "tx-ipxip4-segmentation", "tx-ipxip6-segmentation",
	"tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-tunnel-remcsum-segmentation", "tx-sctp-segmentation",
	"tx-esp-segmentation", "tx-gso-list", "tx-checksum-sctp",
}

// unfinished are those that make it leave checksums and superframes to us.
var unfinished = []string{
	"tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-udp-segmentation",
}

func (o *VethOptions) normalise() error {
	o.complete()
	if err := o.check(o.NetNS, o.Addresses); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	if o.IfName == "" && o.NetNS != "" {
		o.IfName = DefaultIfName
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("veth: %w", device.BadOption(o.Name, format, args...))
	}
	switch {
	case o.IfName == "":
		return bad("ifname is required without netns: the name of the workload's end")
	case device.NetNSKey(o.NetNS) == "" && o.IfName == o.Name:
		return bad("both ends cannot be called %q in one namespace: choose another ifname", o.Name)
	}
	if err := device.CheckName(o.IfName); err != nil {
		return fmt.Errorf("veth: %q: ifname: %w", o.Name, err)
	}
	return nil
}

// OpenVeth makes the pair, or takes up one that an earlier vtepd of the same instance made under that name, whose peer end then keeps its addresses and
// connections. Where that one's peer end is elsewhere, or has another name, the pair is made anew. On failure nothing remains of a pair that was made. The error is ErrBusy, and nothing has been touched, when a process has the pair.
func OpenVeth(o VethOptions) (*Device, error) {
	d, err := openVeth(&o, false)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// CheckVeth says why OpenVeth would refuse, as far as that can be told without making anything.
func CheckVeth(o VethOptions) error {
	_, err := openVeth(&o, true)
	return err
}

func openVeth(o *VethOptions, check bool) (_ *Device, err error) {
	if err := o.normalise(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("veth: %q: %w", o.Name, err)
		}
	}()
	target, err := openOther(o.NetNS)
	if err != nil {
		return nil, err
	}
	if target >= 0 {
		defer unix.Close(target)
	}
	here, err := device.HandleIn(-1)
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := device.HandleIn(target)
	if err != nil {
		return nil, err
	}
	defer there.Close()

	host, peer, err := findPair(here, there, target, o)
	if err == nil && peer == nil {
		err = device.CheckNew(target, o.Addresses)
	}
	if err != nil || check {
		return nil, err
	}
	held := -1
	if host != nil {
		if held, err = o.claim(host.Attrs().Index); err != nil {
			return nil, err
		}
	}
	p := &pair{netns: o.NetNS, key: device.NetNSKey(o.NetNS), made: peer == nil}
	if peer != nil {
		if p.left, err = lookAtLeft(there, peer); err != nil {
			unix.Close(held)
			return nil, err
		}
	} else {
		if host != nil {
			err = here.LinkDel(host)
			if held >= 0 {
				unix.Close(held)
				held = -1
			}
			if err != nil && !isGone(err) {
				return nil, fmt.Errorf("remove the pair of an earlier vtepd: %w", err)
			}
		}
		if host, peer, held, err = makePair(here, there, target, o); err != nil {
			return nil, err
		}
	}
	defer func() {
		if held >= 0 {
			unix.Close(held)
		}
	}()
	if !p.made && host.Attrs().Alias != pairMark(o.Instance) {
		if err := here.LinkSetAlias(host, pairMark(o.Instance)); err != nil {
			return nil, fmt.Errorf("mark the pair: %w", err)
		}
	}
	if err := p.shape(there, peer, target, o); err != nil {
		return nil, errors.Join(err, p.undo(here, host, target, there, peer))
	}
	p.index, p.mac = peer.Attrs().Index, peer.Attrs().HardwareAddr
	if o.MAC != nil {
		p.mac = o.MAC
	}
	hostOptions := o.Options
	hostOptions.MAC = nil // it is for the peer
	d, err := take(&hostOptions, p, held)
	held = -1
	if err != nil {
		return nil, errors.Join(err, p.undo(here, host, target, there, peer))
	}
	p.made = true
	return d, nil
}

// openOther opens the namespace of a peer end; -1 is that of the host end, under whatever name: rtnetlink tells of two ends in one namespace by naming none.
func openOther(netns string) (int, error) {
	if netns == "" {
		return -1, nil
	}
	fd, err := device.OpenNetNS(netns)
	if err != nil {
		return -1, err
	}
	if device.IsOwnNetNS(fd) {
		unix.Close(fd)
		return -1, nil
	}
	return fd, nil
}

// findPair looks for what has the names. host alone is a pair of ours whose peer is not where it should be, or not called so, to be made anew as for another
// netns or ifname at run time: renaming would do for one pair, and not where two change names, nor before Linux 6.2 while the peer is up.
func findPair(here, there *netlink.Handle, target int, o *VethOptions) (host, peer netlink.Link, err error) {
	var missing netlink.LinkNotFoundError
	host, err = here.LinkByName(o.Name)
	switch {
	case errors.As(err, &missing):
		host = nil
	case err != nil:
		return nil, nil, err
	case slices.Contains(o.Going, host.Attrs().Index):
		host = nil
	default:
		maker, ok := madeBy(host.Attrs().Alias)
		switch {
		case host.Type() != "veth" || !ok:
			return nil, nil, fmt.Errorf("%w: an interface of kind %q has that name, and vtepd did not make it: choose another name, or give the port type netdev to take that interface",
				ErrUnfit, host.Type())
		case maker != "" && maker != o.Instance:
			return nil, nil, fmt.Errorf("%w: the vtepd at %s made it: choose another name, or remove it (`ip link del %s`) when there is no vtepd any more", ErrUnfit, maker, o.Name)
		}
		if peer, err = peerOf(here, there, target, host); err != nil || peer != nil && peer.Attrs().Name == o.IfName {
			return host, peer, err
		}
	}
	if taken, err := there.LinkByName(o.IfName); err == nil && !slices.Contains(o.GoingThere, taken.Attrs().Index) {
		return nil, nil, fmt.Errorf("%w: there is an interface %q in the namespace of the workload already: choose another ifname", ErrUnfit, o.IfName)
	} else if err != nil && !errors.As(err, &missing) {
		return nil, nil, err
	}
	return host, nil, nil
}

// peerOf finds the other end of a pair in a namespace, target, -1 for that of the host end; nil when it is not there. An interface index means something only
// together with its namespace, and two pairs may well have the same indexes crosswise.
func peerOf(here, there *netlink.Handle, target int, host netlink.Link) (netlink.Link, error) {
	where, err := numberOf(here, target)
	if err != nil {
		return nil, err
	}
	return peerAt(there, where, host)
}

// numberOf is what the kernel calls a namespace in that of here; -1 where both ends are in one.
func numberOf(here *netlink.Handle, target int) (int, error) {
	if target < 0 {
		return -1, nil
	}
	return here.GetNetNsIdByFd(target)
}

// peerAt is peerOf where the number of the namespace is known.
func peerAt(there *netlink.Handle, where int, host netlink.Link) (netlink.Link, error) {
	a := host.Attrs()
	if a.NetNsID != where {
		return nil, nil
	}
	peer, err := there.LinkByIndex(a.ParentIndex)
	if isGone(err) {
		return nil, nil
	}
	if err != nil || peer.Type() != "veth" || peer.Attrs().ParentIndex != a.Index {
		return nil, err
	}
	return peer, nil
}

// makePair makes both ends, the peer end right where it belongs, and claims the host end. That one has a passing name until it is marked and claimed: the
// kernel takes no alias for an interface that is yet to be made (as of Linux 6.18), and a process that is killed in between must not leave an unmarked pair
// in the place of the next one's.
func makePair(here, there *netlink.Handle, target int, o *VethOptions) (host, peer netlink.Link, held int, err error) {
	passing := device.PassingName()
	making, err := device.ClaimPassing(passing)
	if err != nil {
		return nil, nil, -1, err
	}
	defer unix.Close(making)
	want := netlink.NewVeth(netlink.LinkAttrs{Name: passing, MTU: o.MTU, TxQLen: -1})
	want.PeerName, want.PeerHardwareAddr, want.PeerMTU = o.IfName, o.MAC, uint32(o.MTU)
	if target >= 0 {
		want.PeerNamespace = netlink.NsFd(target)
	}
	if err := here.LinkAdd(want); err != nil {
		return nil, nil, -1, fmt.Errorf("make the pair: %w", err)
	}
	host, peer, held, err = o.finish(here, there, passing)
	if err != nil {
		err = errors.Join(err, here.LinkDel(want))
	}
	return host, peer, held, err
}

// finish marks and claims the host end of a new pair and gives it its name.
func (o *VethOptions) finish(here, there *netlink.Handle, passing string) (host, peer netlink.Link, held int, err error) {
	held = -1
	defer func() {
		if err != nil && held >= 0 {
			unix.Close(held)
			held = -1
		}
	}()
	if host, err = here.LinkByName(passing); err != nil {
		return nil, nil, held, err
	}
	if peer, err = there.LinkByName(o.IfName); err != nil {
		return nil, nil, held, err
	}
	if err = here.LinkSetAlias(host, pairMark(o.Instance)); err != nil {
		return nil, nil, held, fmt.Errorf("mark the pair: %w", err)
	}
	// The host has no business on the workload's wire. Without IPv6 there is nothing to switch off.
	_ = here.LinkSetIP6AddrGenMode(host, addrGenNone)
	if held, err = o.claim(host.Attrs().Index); err != nil {
		return nil, nil, held, err
	}
	if err = here.LinkSetName(host, o.Name); err != nil {
		return nil, nil, held, fmt.Errorf("rename the pair from %q: %w", passing, err)
	}
	host.Attrs().Name = o.Name
	return host, peer, held, nil
}

// addrGenNone is IN6_ADDR_GEN_MODE_NONE: no link-local address.
const addrGenNone = 1

// shape gives the peer end what the options ask for, and sets it up.
func (p *pair) shape(there *netlink.Handle, peer netlink.Link, target int, o *VethOptions) error {
	off := make(map[string]bool)
	for _, f := range tunnels {
		off[f] = false
	}
	if !o.Offload || o.Refuse.VnetHdr {
		for _, f := range unfinished {
			off[f] = false
		}
	}
	if o.Refuse.USO {
		off["tx-udp-segmentation"] = false
	}
	err := device.Within(target, func() error {
		features, err := switchFeatures(peer.Attrs().Name, off)
		if p.left != nil {
			p.left.features = features
		}
		return err
	})
	if err != nil {
		return err
	}
	if !p.made { // an older pair may not be as it is wanted
		if o.MTU != 0 && peer.Attrs().MTU != o.MTU {
			if err := there.LinkSetMTU(peer, o.MTU); err != nil {
				return fmt.Errorf("mtu %d: %w", o.MTU, err)
			}
		}
		if o.MAC != nil {
			if err := device.SetMAC(there, peer, o.MAC); err != nil {
				return fmt.Errorf("mac %v: %w", o.MAC, err)
			}
		}
	}
	added, err := device.AddAddresses(there, peer, o.Addresses)
	if p.left != nil {
		p.left.added = added
	}
	if err != nil {
		return err
	}
	if err := there.LinkSetUp(peer); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}

// undo takes away what was made, or makes the other end again what it was.
func (p *pair) undo(here *netlink.Handle, host netlink.Link, target int, there *netlink.Handle, peer netlink.Link) error {
	var err error
	if p.made {
		err = here.LinkDel(host)
	} else if peer, err = there.LinkByIndex(peer.Attrs().Index); err == nil {
		err = p.left.giveBack(target, there, peer)
	}
	if isGone(err) {
		return nil // Device.undo has done it, or somebody else
	}
	return err
}

// removeAway takes away a pair whose host end was moved to another namespace, by its other end. That is told by its namespace, its number and the MAC that it was
// given; an end that was moved too, or whose MAC was changed meanwhile, is left. Without a pair there is nothing to do.
func (p *pair) removeAway() error {
	if p == nil || !p.made {
		return nil
	}
	ns := -1
	if p.key != "" {
		fd, err := device.OpenNetNS(p.whereabouts())
		if err != nil {
			return nil // and the end with it, as far as anybody can tell
		}
		defer unix.Close(fd)
		if device.KeyOfNetNS(fd) != p.key {
			return nil // the name is another namespace's by now
		}
		ns = fd
	}
	there, err := device.HandleIn(ns)
	if err != nil {
		return err
	}
	defer there.Close()
	end, err := there.LinkByIndex(p.index)
	if err != nil || end.Type() != "veth" || !bytes.Equal(end.Attrs().HardwareAddr, p.mac) {
		return nil
	}
	if err := there.LinkDel(end); err != nil && !isGone(err) {
		return fmt.Errorf("remove the pair by its other end: %w", err)
	}
	return nil
}

// peer calls f with the peer end, in whatever namespace it was put. here is the host end's.
func (p *pair) peer(here *netlink.Handle, host netlink.Link, f func(h *netlink.Handle, peer netlink.Link) error) error {
	return p.peerIn(here, host, func(_ int, h *netlink.Handle, peer netlink.Link) error { return f(h, peer) })
}

// peerIn is peer with the namespace too, -1 for that of here.
func (p *pair) peerIn(here *netlink.Handle, host netlink.Link, f func(ns int, h *netlink.Handle, peer netlink.Link) error) error {
	h, ns := here, -1
	if p.key != "" {
		fd, err := device.OpenNetNS(p.whereabouts())
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if h, err = device.HandleIn(fd); err != nil {
			return err
		}
		defer h.Close()
		ns = fd
	}
	peer, err := peerOf(here, h, ns, host)
	if err != nil {
		return err
	}
	if peer == nil {
		return fmt.Errorf("%w: the other end is not in its namespace any more", ErrUnfit)
	}
	return f(ns, h, peer)
}

// describe fills in what of a pair is seen at the peer end. It stays empty when that end was moved away.
func (p *pair) describe(here *netlink.Handle, host netlink.Link, attr *device.Attr) {
	attr.MAC = nil
	_ = p.peer(here, host, func(_ *netlink.Handle, peer netlink.Link) error {
		attr.MAC = peer.Attrs().HardwareAddr
		attr.Peer, attr.PeerIndex = peer.Attrs().Name, peer.Attrs().Index
		attr.XDP = device.DriverXDP(peer)
		if netns := p.whereabouts(); netns != "" {
			attr.NetNS, attr.NetNSKey = device.NetNSWord(netns), p.key
		}
		return nil
	})
}
