package netdev

import (
	"errors"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// isPassing says whether an interface looks as the host end of a pair does until it is renamed: nobody has set it up, and the mark may be missing. Whose such
// a pair was does not matter, since it carries nothing.
func isPassing(l netlink.Link) bool {
	a := l.Attrs()
	_, marked := madeBy(a.Alias)
	return l.Type() == "veth" && device.IsPassing(a.Name) && a.Flags&net.FlagUp == 0 && (marked || a.Alias == "")
}

// removePassing removes a pair whose maker was killed over it.
func removePassing(name string) (bool, error) {
	making, err := device.ClaimPassing(name)
	if errors.Is(err, ErrBusy) {
		return false, nil // it is just being made
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(making)
	// Looked for again: until the name was claimed its maker may have finished it.
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || err == nil && !isPassing(l) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return removeClaimed(l) // not a port whose owner chose such a name
}
