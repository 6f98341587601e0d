package netdev

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
	ethtoolGetFeatures struct {
		cmd, blocks uint32
		block       [maxFeatures / 32]struct{ available, requested, active, neverChanged uint32 }
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

// switchFeatures switches features of an interface of the calling thread's namespace, by the names that `ethtool -k` shows. It gives what had to be
// changed, as it was before. Names that the kernel does not know and features that are fixed are left out.
func switchFeatures(ifname string, want map[string]bool) (before map[string]bool, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool: %w", err)
	}
	defer unix.Close(fd)
	info := &ethtoolSetInfo{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << featureNames}
	if err := ethtool(fd, ifname, unsafe.Pointer(info)); err != nil {
		return nil, fmt.Errorf("ETHTOOL_GSSET_INFO: %w", err)
	}
	count := min(info.counts[0], maxFeatures)
	names := &ethtoolStrings{cmd: unix.ETHTOOL_GSTRINGS, set: featureNames, count: count}
	if err := ethtool(fd, ifname, unsafe.Pointer(names)); err != nil {
		return nil, fmt.Errorf("ETHTOOL_GSTRINGS: %w", err)
	}
	blocks := (count + 31) / 32
	now := &ethtoolGetFeatures{cmd: unix.ETHTOOL_GFEATURES, blocks: blocks}
	if err := ethtool(fd, ifname, unsafe.Pointer(now)); err != nil {
		return nil, fmt.Errorf("ETHTOOL_GFEATURES: %w", err)
	}
	request := &ethtoolSetFeatures{cmd: unix.ETHTOOL_SFEATURES, blocks: blocks}
	before = make(map[string]bool)
	for bit := range count {
		name, _, _ := bytes.Cut(names.data[bit*gstringLen:(bit+1)*gstringLen], []byte{0})
		on, named := want[string(name)]
		b, mask := &now.block[bit/32], uint32(1)<<(bit%32)
		is := b.active&mask != 0
		if !named || is == on || b.available&mask == 0 || b.neverChanged&mask != 0 {
			continue
		}
		before[string(name)] = is
		request.block[bit/32].valid |= mask
		if on {
			request.block[bit/32].requested |= mask
		}
	}
	if len(before) == 0 {
		return nil, nil
	}
	if err := ethtool(fd, ifname, unsafe.Pointer(request)); err != nil {
		return nil, fmt.Errorf("ETHTOOL_SFEATURES: %w", err)
	}
	return before, nil
}

// ethtool makes one SIOCETHTOOL call with the command structure at data.
func ethtool(fd int, ifname string, data unsafe.Pointer) error {
	request := &ifreqPointer{data: data}
	copy(request.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}
