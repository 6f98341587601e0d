package lab

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// featureNames is ETH_SS_FEATURES, the string set of device features (linux/ethtool.h).
	featureNames = 4
	// gstringLen is ETH_GSTRING_LEN, bytes a name.
	gstringLen = 32
	// maxFeatures bounds the name table; Linux 6.18 has 64 feature bits.
	maxFeatures = 256
)

// The structures of linux/ethtool.h, host byte order, with their variable tails at full length.
type (
	ethtoolSetInfo struct {
		cmd      uint32
		reserved uint32
		mask     uint64
		counts   [1]uint32
		_        uint32
	}
	ethtoolStrings struct {
		cmd, set, count uint32
		data            [maxFeatures * gstringLen]byte
	}
	ethtoolSetFeatures struct {
		cmd, blocks uint32
		block       [maxFeatures / 32]struct{ valid, requested uint32 }
	}
	// ifreqPointer is struct ifreq with ifr_data.
	ifreqPointer struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
)

// setFeatures switches features of an interface of the calling thread's namespace. Names the kernel does not know are an error; a feature that is fixed the
// right way is not.
func setFeatures(ifname string, set map[string]bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	info := &ethtoolSetInfo{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << featureNames}
	if _, err := ethtool(fd, ifname, unsafe.Pointer(info)); err != nil {
		return fmt.Errorf("ETHTOOL_GSSET_INFO: %w", err)
	}
	if info.counts[0] > maxFeatures {
		return fmt.Errorf("kernel has %d feature bits, room for %d", info.counts[0], maxFeatures)
	}
	names := &ethtoolStrings{cmd: unix.ETHTOOL_GSTRINGS, set: featureNames, count: info.counts[0]}
	if _, err := ethtool(fd, ifname, unsafe.Pointer(names)); err != nil {
		return fmt.Errorf("ETHTOOL_GSTRINGS: %w", err)
	}
	request := &ethtoolSetFeatures{cmd: unix.ETHTOOL_SFEATURES, blocks: (info.counts[0] + 31) / 32}
	found := 0
	for bit := range info.counts[0] {
		name, _, _ := bytes.Cut(names.data[bit*gstringLen:(bit+1)*gstringLen], []byte{0})
		on, named := set[string(name)]
		if !named {
			continue
		}
		found++
		request.block[bit/32].valid |= 1 << (bit % 32)
		if on {
			request.block[bit/32].requested |= 1 << (bit % 32)
		}
	}
	if found != len(set) {
		return fmt.Errorf("of %d features the kernel knows %d", len(set), found)
	}
	// A positive answer tells of bits that took another value than asked (ETHTOOL_F_*): fixed features. Those that matter are seen on the wire.
	if _, err := ethtool(fd, ifname, unsafe.Pointer(request)); err != nil {
		return fmt.Errorf("ETHTOOL_SFEATURES: %w", err)
	}
	return nil
}

// ethtool makes one SIOCETHTOOL call with the command structure at data.
func ethtool(fd int, ifname string, data unsafe.Pointer) (answer int, err error) {
	request := &ifreqPointer{data: data}
	copy(request.name[:unix.IFNAMSIZ-1], ifname)
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
