package xdp

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/ethtool"
)

// ethernetDevice wants a device whose frames begin with an Ethernet header.
func ethernetDevice(ifindex int) (netlink.Link, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("ifindex %d: %w", ifindex, err)
	}
	if t := l.Attrs().EncapType; t != "ether" && t != "loopback" {
		return nil, fmt.Errorf("%s: frames of type %s, not Ethernet: %w", l.Attrs().Name, t, ErrInvalid)
	}
	return l, nil
}

// virtualDrivers carry superframes between two ends of one machine, where their offloads are on, and may leave GRO off unless somebody asks for it.
var virtualDrivers = []string{"veth", "virtio_net", "tun", "netkit", "xen_netfront"}

// masterDrivers hand an XDP program on to the devices below them, where it runs for datagrams of a device that it does not know.
var masterDrivers = []string{"bonding"}

// DividesUDP says whether superframes of UDP in a tunnel leave a device of the calling thread's namespace as datagrams. A network card sends nothing else, and the kernel divides
// them itself for a device that lacks one of the two offloads. Any other may hand them whole to somebody on this machine, whose socket takes them for datagrams of the tunnel
// that were joined.
func DividesUDP(link netlink.Link) bool {
	e, err := ethtool.OpenIndex(link.Attrs().Index)
	if err != nil {
		return false
	}
	defer e.Close()
	if f, err := e.Features(); err != nil || !f["tx-udp_tnl-segmentation"].On || !f["tx-udp-segmentation"].On {
		return err == nil
	}
	driver, err := e.Driver()
	return err == nil && link.Type() == "device" && !slices.Contains(virtualDrivers, driver)
}

// hardwareJoins are the features by which a card joins segments of all TCP that the host receives. A driver takes no XDP program beside them, or ends them for it; some go
// on showing them then, as virtio_net does.
var hardwareJoins = []string{"rx-gro-hw", "rx-lro"}

// whatJoins judges a device by its driver and features: what to try, the best first, and where XDP is left out, why. raised: GRO is on because XDP
// wanted it.
func whatJoins(ifindex int, raised bool) ([]joiner, string) {
	e, err := ethtool.OpenIndex(ifindex)
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	defer e.Close()
	t, err := traitsOf(e)
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	t.gro = t.gro && !raised
	return t.joiners()
}

// traits are what a device is judged by.
type traits struct {
	name, driver string
	gro, tso     bool // on, or not to be asked
	features     map[string]ethtool.Feature
}

func traitsOf(e *ethtool.Device) (t traits, err error) {
	t.name = e.Name
	if t.driver, err = e.Driver(); err != nil {
		return t, err
	}
	on := func(cmd uint32) bool {
		v, err := e.Value(cmd, 0)
		return err != nil || v != 0
	}
	t.gro, t.tso = on(unix.ETHTOOL_GGRO), on(unix.ETHTOOL_GTSO)
	t.features, err = e.Features()
	return t, err
}

func (t *traits) joiners() ([]joiner, string) {
	virtual := slices.Contains(virtualDrivers, t.driver)
	switch {
	case slices.Contains(masterDrivers, t.driver):
		return []joiner{byCell}, fmt.Sprintf("xdp: %s (%s) would hand it on to the devices below", t.name, t.driver)
	case virtual && t.tso && t.features["tx-udp_tnl-segmentation"].On: // what leaves whole at this end comes whole from the other
		return nil, fmt.Sprintf("xdp: %s carries superframes whole, which XDP would end", t.name)
	case t.driver == "veth" && !t.gro:
		return []joiner{byCell}, ""
	case t.driver == "veth":
		return []joiner{byCell}, fmt.Sprintf("xdp: %s hands over checksums that its other end left unfinished, and XDP would leave them so", t.name)
	}
	for _, name := range hardwareJoins {
		if t.features[name].On {
			return []joiner{byCell}, fmt.Sprintf("xdp: it would end %s of %s for all TCP that this host receives", name, t.name)
		}
	}
	switch {
	case t.gro:
		return []joiner{byXDP, byCell}, ""
	case virtual:
		return []joiner{byCell, byXDP}, ""
	}
	return []joiner{byCell}, fmt.Sprintf("xdp: generic-receive-offload of %s is off, without which it gains nothing", t.name)
}

// switchGRO switches generic receive offload of a virtual device on or off. changed says that it was the other way before.
func switchGRO(ifindex int, on bool) (changed bool, err error) {
	e, err := ethtool.OpenIndex(ifindex)
	if err != nil {
		return false, err
	}
	defer e.Close()
	if driver, err := e.Driver(); err != nil || !slices.Contains(virtualDrivers, driver) {
		return false, err
	}
	want := uint32(flag8(on))
	if now, err := e.Value(unix.ETHTOOL_GGRO, 0); err != nil || now == want {
		return false, err
	}
	if _, err := e.Value(unix.ETHTOOL_SGRO, want); err != nil {
		return false, err
	}
	return true, nil
}

// cellOffloads has segments that go into one end of a veth pair come out of the other joined.
func cellOffloads(in, out int) error {
	for _, x := range []struct {
		ifindex   int
		cmd, want uint32
	}{{in, unix.ETHTOOL_STSO, 0}, {out, unix.ETHTOOL_SGRO, 1}} {
		e, err := ethtool.OpenIndex(x.ifindex)
		if err != nil {
			return err
		}
		_, err = e.Value(x.cmd, x.want)
		e.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
