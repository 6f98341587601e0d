package netdev

import (
	"errors"
	"fmt"
	"slices"
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

// Left names the veth pairs of the calling thread's namespace that a process of the instance made, be they in use or not. Without an instance no pair that was
// finished is known to be ours.
func Left(instance string) (names []string, err error) {
	pairs, _, err := listLeft(instance)
	for _, l := range pairs {
		names = append(names, l.Attrs().Name)
	}
	return names, err
}

// listLeft is Left, and lists those apart that were not finished, whosever they are.
func listLeft(instance string) (finished, unfinished []netlink.Link, err error) {
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, nil, fmt.Errorf("netdev: list interfaces: %w", err)
	}
	for _, l := range all {
		switch {
		case isPassing(l):
			unfinished = append(unfinished, l)
		case instance != "" && l.Type() == "veth" && l.Attrs().Alias == pairMark(instance):
			finished = append(finished, l)
		}
	}
	return finished, unfinished, nil
}

// RemoveLeft removes the veth pairs of the calling thread's namespace that a former process of the same instance made and left, save those that a process
// holds, and those that one of wanted is for: with that name, the other end in that namespace and called so. held are the indexes of some that this process
// holds itself, which are not looked at. It says which it removed.
func RemoveLeft(instance string, wanted []VethOptions, held map[int]bool) (removed []string, err error) {
	return removeLeft(instance, wanted, held, func(stale []netlink.Link) []netlink.Link { return stale })
}

// removeLeft is RemoveLeft for some of the pairs that nobody wants.
func removeLeft(instance string, wanted []VethOptions, held map[int]bool, some func(stale []netlink.Link) []netlink.Link) (removed []string, err error) {
	finished, unfinished, err := listLeft(instance)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*VethOptions, len(wanted))
	for i := range wanted {
		byName[wanted[i].Name] = &wanted[i]
	}
	var errs []error
	note := func(l netlink.Link, gone bool, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("veth: remove %q, which a former vtepd left: %w", l.Attrs().Name, err))
		} else if gone {
			removed = append(removed, l.Attrs().Name)
		}
	}
	for _, l := range unfinished {
		gone, err := removePassing(l.Attrs().Name)
		note(l, gone, err)
	}
	stale := slices.DeleteFunc(finished, func(l netlink.Link) bool { return held[l.Attrs().Index] || byName[l.Attrs().Name].fits(l) })
	for _, l := range some(stale) {
		gone, err := removeClaimed(l)
		note(l, gone, err)
	}
	return removed, errors.Join(errs...)
}

// removeClaimed removes an interface that no process holds.
func removeClaimed(l netlink.Link) (bool, error) {
	held, err := device.Claim(l.Attrs().Index)
	if errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(held)
	if err = netlink.LinkDel(l); isGone(err) {
		return false, nil // with its other end, meanwhile
	}
	return err == nil, err
}

// fits says whether OpenVeth would take up a pair as it is. Where that cannot be told the pair stays, and OpenVeth says what is wrong.
func (o *VethOptions) fits(host netlink.Link) bool {
	if o == nil {
		return false
	}
	want := *o
	if want.normalise() != nil {
		return true
	}
	target, err := openOther(want.NetNS)
	if err != nil {
		return !errors.Is(err, device.ErrNoNetNS) // a namespace that has lost its name may live on, and the pair with it
	}
	if target >= 0 {
		defer unix.Close(target)
	}
	there, err := device.HandleIn(target)
	if err != nil {
		return true
	}
	defer there.Close()
	here, err := device.HandleIn(-1)
	if err != nil {
		return true
	}
	defer here.Close()
	peer, err := peerOf(here, there, target, host)
	return err != nil || peer != nil && peer.Attrs().Name == want.IfName
}
