package ethtool

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// featureNames is ETH_SS_FEATURES, the string set of device features.
	featureNames = 4
	// gstringLen is ETH_GSTRING_LEN, bytes a name.
	gstringLen = 32
	// maxFeatures bounds the name table; Linux 6.18 has 64 feature bits.
	maxFeatures = 256
)

// The structures of linux/ethtool.h, host byte order, with their variable tails at full length.
type (
	setInfo struct {
		cmd, reserved uint32
		mask          uint64
		counts        [1]uint32
		_             uint32
	}
	gstrings struct {
		cmd, set, count uint32
		data            [maxFeatures * gstringLen]byte
	}
	getFeatures struct {
		cmd, blocks uint32
		block       [maxFeatures / 32]struct{ available, requested, active, neverChanged uint32 }
	}
	setFeatures struct {
		cmd, blocks uint32
		block       [maxFeatures / 32]struct{ valid, requested uint32 }
	}
	value struct{ cmd, data uint32 }
	// ifreq is struct ifreq with ifr_data.
	ifreq struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
)

// Device is an interface of the namespace that the thread was in which opened it.
type Device struct {
	Name string
	fd   int
}

// Open does not look whether there is such an interface.
func Open(name string) (*Device, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool socket: %w", err)
	}
	return &Device{name, fd}, nil
}

// OpenIndex is Open for the interface of an ifindex.
func OpenIndex(ifindex int) (*Device, error) {
	d, err := Open("")
	if err != nil {
		return nil, err
	}
	r, err := unix.NewIfreq("")
	if err == nil {
		r.SetUint32(uint32(ifindex))
		err = unix.IoctlIfreq(d.fd, unix.SIOCGIFNAME, r)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("interface of ifindex %d: %w", ifindex, err)
	}
	d.Name = r.Name()
	return d, nil
}

// Close leaves the interface as it is.
func (d *Device) Close() { unix.Close(d.fd) }

// Driver is the name of the device's driver.
func (d *Device) Driver() (string, error) {
	info, err := unix.IoctlGetEthtoolDrvinfo(d.fd, d.Name)
	if err != nil {
		return "", fmt.Errorf("%s has no driver to ask: %w", d.Name, err)
	}
	return unix.ByteSliceToString(info.Driver[:]), nil
}

// Value runs a command that takes or gives one number (struct ethtool_value).
func (d *Device) Value(cmd, data uint32) (uint32, error) {
	v := &value{cmd, data}
	err := d.do(unsafe.Pointer(v))
	return v.data, err
}

// Feature is the state of one.
type Feature struct {
	On    bool
	Fixed bool // nobody can switch it
}

// Features are all that the kernel knows, by the names that `ethtool -k` shows.
func (d *Device) Features() (map[string]Feature, error) {
	names, err := d.featureNames()
	if err != nil {
		return nil, err
	}
	now := &getFeatures{cmd: unix.ETHTOOL_GFEATURES, blocks: blocks(names)}
	if err := d.do(unsafe.Pointer(now)); err != nil {
		return nil, err
	}
	features := make(map[string]Feature, len(names))
	for bit, name := range names {
		b, mask := &now.block[bit/32], uint32(1)<<(bit%32)
		features[name] = Feature{On: b.active&mask != 0, Fixed: b.available&mask == 0 || b.neverChanged&mask != 0}
	}
	return features, nil
}

// SetFeatures switches features. Names that the kernel does not know are an error, and nothing is switched; a feature that is fixed stays as it is.
func (d *Device) SetFeatures(want map[string]bool) error {
	names, err := d.featureNames()
	if err != nil {
		return err
	}
	request := &setFeatures{cmd: unix.ETHTOOL_SFEATURES, blocks: blocks(names)}
	found := 0
	for bit, name := range names {
		on, named := want[name]
		if !named {
			continue
		}
		found++
		b, mask := &request.block[bit/32], uint32(1)<<(bit%32)
		b.valid |= mask
		if on {
			b.requested |= mask
		}
	}
	if found != len(want) {
		return fmt.Errorf("ethtool: of %d features the kernel knows %d", len(want), found)
	}
	// A positive answer, which is no error, tells of features that took another value than asked (ETHTOOL_F_*).
	return d.do(unsafe.Pointer(request))
}

// featureNames are in the order of their bits.
func (d *Device) featureNames() ([]string, error) {
	info := &setInfo{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << featureNames}
	if err := d.do(unsafe.Pointer(info)); err != nil {
		return nil, err
	}
	count := min(info.counts[0], maxFeatures)
	table := &gstrings{cmd: unix.ETHTOOL_GSTRINGS, set: featureNames, count: count}
	if err := d.do(unsafe.Pointer(table)); err != nil {
		return nil, err
	}
	names := make([]string, count)
	for bit := range names {
		names[bit] = unix.ByteSliceToString(table.data[bit*gstringLen : (bit+1)*gstringLen])
	}
	return names, nil
}

// blocks is how many words of 32 bits the features fill.
func blocks(names []string) uint32 { return uint32(len(names)+31) / 32 }

// do runs a command, whose number a structure of linux/ethtool.h begins with.
func (d *Device) do(command unsafe.Pointer) error {
	request := &ifreq{data: command}
	copy(request.name[:unix.IFNAMSIZ-1], d.Name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
	runtime.KeepAlive(command)
	if errno != 0 {
		return fmt.Errorf("ethtool command %#x of %s: %w", *(*uint32)(command), d.Name, errno)
	}
	return nil
}
