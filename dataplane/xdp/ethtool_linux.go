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

// checkEthernet wants a device whose frames begin with an Ethernet header.
func checkEthernet(ifindex int) error {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Errorf("ifindex %d: %w", ifindex, err)
	}
	if t := l.Attrs().EncapType; t != "ether" && t != "loopback" {
		return fmt.Errorf("%s: frames of type %s, not Ethernet: %w", l.Attrs().Name, t, ErrInvalid)
	}
	return nil
}

// virtualDrivers carry superframes whole between two ends of one machine.
var virtualDrivers = []string{"veth", "virtio_net", "tun", "netkit", "xen_netfront"}

// whyXDPDoesNotPay judges a device by its driver; empty: it pays.
func whyXDPDoesNotPay(ifindex int) string {
	dev, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return err.Error()
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, dev.Name)
	if err != nil {
		return fmt.Sprintf("xdp: %s has no driver to ask", dev.Name)
	}
	driver := unix.ByteSliceToString(info.Driver[:])
	if !slices.Contains(virtualDrivers, driver) {
		return ""
	}
	if on, err := segmentationOffload(fd, dev.Name); err == nil && !on {
		return ""
	}
	return fmt.Sprintf("xdp: %s (%s) carries superframes whole, which XDP would end", dev.Name, driver)
}

// segmentationOffload reads ETHTOOL_GTSO.
func segmentationOffload(fd int, name string) (bool, error) {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GTSO}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	req.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return false, fmt.Errorf("ETHTOOL_GTSO of %s: %w", name, errno)
	}
	return value.data != 0, nil
}
