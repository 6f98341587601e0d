package netdev

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// pairAlias marks the host end of a pair that vtepd made (IFLA_IFALIAS), with the instance behind it: one that a process left which did not end well is
// taken up again, or removed by RemoveLeft.
const pairAlias = "made by vtepd"

func pairMark(instance string) string {
	if instance == "" {
		return pairAlias
	}
	return pairAlias + " at " + instance
}

// madeBy says of which instance a pair with an alias is, which may be none in particular; false: no vtepd made it.
func madeBy(alias string) (instance string, ok bool) {
	if alias == pairAlias {
		return "", true
	}
	return strings.CutPrefix(alias, pairAlias+" at ")
}

// RemoveLeft removes the veth pairs of the calling thread's namespace that a former process of the same instance made and left, save those that keep
// names by their host end, and those that a process holds. It says which it removed. Without an instance nothing is known to be ours.
func RemoveLeft(instance string, keep func(name string) bool) (removed []string, err error) {
	if instance == "" {
		return nil, nil
	}
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("netdev: list interfaces: %w", err)
	}
	var errs []error
	for _, l := range all {
		a := l.Attrs()
		if l.Type() != "veth" || a.Alias != pairMark(instance) || keep(a.Name) {
			continue
		}
		held, err := device.Claim(a.Index)
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err == nil {
			err = netlink.LinkDel(l)
			unix.Close(held)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("netdev: remove %q, which a former vtepd left: %w", a.Name, err))
			continue
		}
		removed = append(removed, a.Name)
	}
	return removed, errors.Join(errs...)
}
