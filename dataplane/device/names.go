package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"unicode"
)

// MaxNameLen in bytes: IFNAMSIZ less the terminating zero.
const MaxNameLen = 15

// CheckName holds the kernel's rule (dev_valid_name of net/core/dev.c), and asks
// for printable characters beside: such a name would be hard to type. '%' is
// refused because the kernel would take "tap%d" as a pattern and count.
func CheckName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "a name is required"
	case len(name) > MaxNameLen:
		why = fmt.Sprintf("the name has %d bytes, an interface name at most %d", len(name), MaxNameLen)
	case name == "." || name == "..":
		why = "the kernel allows no such name"
	case strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == ':' || r == '%' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}):
		why = "a name may not contain '/', ':', '%', white space or unprintable characters"
	default:
		return nil
	}
	return fmt.Errorf("%q: %w: %s", name, ErrOption, why)
}

// passingPrefix begins the passing name of an interface of our own making, eight hexadecimal digits end it.
const passingPrefix = "vtepd-"

// PassingName is what an interface is called until it is all that its own name promises. 14 bytes.
func PassingName() string { return fmt.Sprintf("%s%08x", passingPrefix, rand.Uint32()) }

// IsPassing says whether a name is one that PassingName may have given.
func IsPassing(name string) bool {
	digits, ok := strings.CutPrefix(name, passingPrefix)
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}

// RandomMAC is an address as the kernel gives to a device that was asked for none: of one station, locally administered (eth_random_addr).
func RandomMAC() net.HardwareAddr {
	mac := binary.BigEndian.AppendUint64(nil, rand.Uint64())[:6]
	mac[0] = mac[0]&^1 | 2
	return mac
}

// CheckMAC wants the address of one station.
func CheckMAC(mac net.HardwareAddr) error {
	switch {
	case len(mac) != 6:
		return fmt.Errorf("MAC %v has %d bytes, not 6", mac, len(mac))
	case mac[0]&1 != 0:
		return fmt.Errorf("MAC %v is a group address", mac)
	case [6]byte(mac) == [6]byte{}:
		return errors.New("MAC is all zero")
	}
	return nil
}
