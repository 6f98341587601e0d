package xdp

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// ethtool asks a device for its driver and features, and switches them.
type ethtool struct {
	fd   int
	name string
}

func openEthtool(ifindex int) (*ethtool, error) {
	dev, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool socket: %w", err)
	}
	return &ethtool{fd, dev.Name}, nil
}

func (e *ethtool) close() { unix.Close(e.fd) }

// driver is the name of the device's driver.
func (e *ethtool) driver() (string, error) {
	info, err := unix.IoctlGetEthtoolDrvinfo(e.fd, e.name)
	if err != nil {
		return "", fmt.Errorf("%s has no driver to ask: %w", e.name, err)
	}
	return unix.ByteSliceToString(info.Driver[:]), nil
}

// virtual says whether the driver is one of virtualDrivers.
func (e *ethtool) virtual() (bool, error) {
	driver, err := e.driver()
	return slices.Contains(virtualDrivers, driver), err
}

// Of <linux/ethtool.h>.
const (
	featureNames = 4   // ETH_SS_FEATURES, the names of features
	gstringLen   = 32  // ETH_GSTRING_LEN, bytes of a name
	maxFeatures  = 256 // bounds the names; Linux 6.18 has 64
)

// tunnelGSO says whether a UDP tunnel's superframes leave the device whole, by the feature tx-udp_tnl-segmentation.
func (e *ethtool) tunnelGSO() (bool, error) {
	var info struct {
		cmd, _ uint32
		mask   uint64
		counts [1]uint32
		_      uint32
	}
	info.cmd, info.mask = unix.ETHTOOL_GSSET_INFO, 1<<featureNames
	if err := e.do(unsafe.Pointer(&info)); err != nil {
		return false, err
	}
	var names struct {
		cmd, set, count uint32
		data            [maxFeatures * gstringLen]byte
	}
	n := min(info.counts[0], maxFeatures)
	names.cmd, names.set, names.count = unix.ETHTOOL_GSTRINGS, featureNames, n
	if err := e.do(unsafe.Pointer(&names)); err != nil {
		return false, err
	}
	var features struct {
		cmd, size uint32
		blocks    [maxFeatures / 32]struct{ available, requested, active, never uint32 }
	}
	features.cmd, features.size = unix.ETHTOOL_GFEATURES, (n+31)/32
	if err := e.do(unsafe.Pointer(&features)); err != nil {
		return false, err
	}
	for bit := range n {
		if unix.ByteSliceToString(names.data[bit*gstringLen:(bit+1)*gstringLen]) == "tx-udp_tnl-segmentation" {
			return features.blocks[bit/32].active>>(bit%32)&1 != 0, nil
		}
	}
	return false, nil
}

// value runs a command that takes or gives one number (struct ethtool_value).
func (e *ethtool) value(cmd, data uint32) (uint32, error) {
	value := struct{ cmd, data uint32 }{cmd, data}
	err := e.do(unsafe.Pointer(&value))
	return value.data, err
}

// do runs a command, whose number a structure of <linux/ethtool.h> begins with.
func (e *ethtool) do(command unsafe.Pointer) error {
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}
	copy(req.name[:unix.IFNAMSIZ-1], e.name)
	req.data = command
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(command)
	if errno != 0 {
		return fmt.Errorf("ethtool command %#x of %s: %w", *(*uint32)(command), e.name, errno)
	}
	return nil
}

// whatJoins judges a device by its driver and features: what to try, the best first, and where XDP is left out, why. raised: GRO is on because XDP
// wanted it.
func whatJoins(ifindex int, raised bool) ([]joiner, string) {
	e, err := openEthtool(ifindex)
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	defer e.close()
	driver, err := e.driver()
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	if slices.Contains(masterDrivers, driver) {
		return []joiner{byCell}, fmt.Sprintf("xdp: %s (%s) would hand it on to the devices below", e.name, driver)
	}
	gro, groErr := e.value(unix.ETHTOOL_GGRO, 0)
	off := groErr == nil && gro == 0 || raised
	if !slices.Contains(virtualDrivers, driver) {
		if off {
			return []joiner{byCell}, fmt.Sprintf("xdp: generic-receive-offload of %s is off, without which it gains nothing", e.name)
		}
		return []joiner{byXDP, byCell}, ""
	}
	// What leaves whole at this end comes whole from the other.
	tso, err := e.value(unix.ETHTOOL_GTSO, 0)
	if err != nil || tso != 0 {
		if whole, err := e.tunnelGSO(); err != nil || whole {
			return nil, fmt.Sprintf("xdp: %s carries superframes whole, which XDP would end", e.name)
		}
	}
	if driver == "veth" && off {
		return []joiner{byCell}, ""
	}
	if driver == "veth" {
		return []joiner{byCell}, fmt.Sprintf("xdp: %s hands over checksums that its other end left unfinished, and XDP would leave them so", e.name)
	}
	if off {
		return []joiner{byCell, byXDP}, ""
	}
	return []joiner{byXDP, byCell}, ""
}

// switchGRO switches generic receive offload of a virtual device on or off. changed says that it was the other way before.
func switchGRO(ifindex int, on bool) (changed bool, err error) {
	e, err := openEthtool(ifindex)
	if err != nil {
		return false, err
	}
	defer e.close()
	if virtual, err := e.virtual(); err != nil || !virtual {
		return false, err
	}
	want := uint32(flag8(on))
	if now, err := e.value(unix.ETHTOOL_GGRO, 0); err != nil || now == want {
		return false, err
	}
	if _, err := e.value(unix.ETHTOOL_SGRO, want); err != nil {
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
		e, err := openEthtool(x.ifindex)
		if err != nil {
			return err
		}
		_, err = e.value(x.cmd, x.want)
		e.close()
		if err != nil {
			return err
		}
	}
	return nil
}
