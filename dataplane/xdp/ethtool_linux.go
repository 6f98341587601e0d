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

// virtualDrivers carry superframes whole between two ends of one machine, and may leave GRO off unless somebody asks for it.
var virtualDrivers = []string{"veth", "virtio_net", "tun", "netkit", "xen_netfront"}

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

// virtual says whether the driver is one of virtualDrivers.
func (e *ethtool) virtual() (bool, error) {
	info, err := unix.IoctlGetEthtoolDrvinfo(e.fd, e.name)
	if err != nil {
		return false, fmt.Errorf("%s has no driver to ask: %w", e.name, err)
	}
	return slices.Contains(virtualDrivers, unix.ByteSliceToString(info.Driver[:])), nil
}

// value runs a command that takes or gives one number (struct ethtool_value).
func (e *ethtool) value(cmd, data uint32) (uint32, error) {
	value := struct{ cmd, data uint32 }{cmd, data}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}
	copy(req.name[:unix.IFNAMSIZ-1], e.name)
	req.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return 0, fmt.Errorf("ethtool command %#x of %s: %w", cmd, e.name, errno)
	}
	return value.data, nil
}

// whatJoins judges a device by its driver and features; without XDP it says why.
func whatJoins(ifindex int) ([]joiner, string) {
	e, err := openEthtool(ifindex)
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	defer e.close()
	virtual, err := e.virtual()
	if err != nil {
		return []joiner{byCell}, "xdp: " + err.Error()
	}
	gro, groErr := e.value(unix.ETHTOOL_GGRO, 0)
	off := groErr == nil && gro == 0
	if !virtual {
		if off {
			return []joiner{byCell}, fmt.Sprintf("xdp: generic-receive-offload of %s is off, without which it gains nothing", e.name)
		}
		return []joiner{byXDP, byCell}, ""
	}
	if tso, err := e.value(unix.ETHTOOL_GTSO, 0); err != nil || tso != 0 {
		return nil, fmt.Sprintf("xdp: %s carries superframes whole, which XDP would end", e.name)
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
