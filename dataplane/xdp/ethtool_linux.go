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

// tunnelGSO says whether a UDP tunnel's superframes leave the device whole.
func tunnelGSO(d *ethtool.Device) (bool, error) {
	features, err := d.Features()
	return features["tx-udp_tnl-segmentation"].On, err
}

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

// whatJoins judges a device by its driver and features: what to try, the best first, and where XDP is left out, why. raised: GRO is on because XDP
// wanted it.
func whatJoins(ifindex int, raised bool) ([]joiner, string) {
	e, err := ethtool.OpenIndex(ifindex)
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	defer e.Close()
	driver, err := e.Driver()
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	if slices.Contains(masterDrivers, driver) {
		return []joiner{byCell}, fmt.Sprintf("xdp: %s (%s) would hand it on to the devices below", e.Name, driver)
	}
	gro, groErr := e.Value(unix.ETHTOOL_GGRO, 0)
	off := groErr == nil && gro == 0 || raised
	if !slices.Contains(virtualDrivers, driver) {
		if off {
			return []joiner{byCell}, fmt.Sprintf("xdp: generic-receive-offload of %s is off, without which it gains nothing", e.Name)
		}
		return []joiner{byXDP, byCell}, ""
	}
	// What leaves whole at this end comes whole from the other.
	tso, err := e.Value(unix.ETHTOOL_GTSO, 0)
	if err != nil || tso != 0 {
		if whole, err := tunnelGSO(e); err != nil || whole {
			return nil, fmt.Sprintf("xdp: %s carries superframes whole, which XDP would end", e.Name)
		}
	}
	if driver == "veth" && off {
		return []joiner{byCell}, ""
	}
	if driver == "veth" {
		return []joiner{byCell}, fmt.Sprintf("xdp: %s hands over checksums that its other end left unfinished, and XDP would leave them so", e.Name)
	}
	if off {
		return []joiner{byCell, byXDP}, ""
	}
	return []joiner{byXDP, byCell}, ""
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
