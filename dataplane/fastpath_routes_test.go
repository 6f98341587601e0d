package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A kernel without a thing has none of it. Where it only cannot be asked, there may be one.
func TestNoneOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		none bool
	}{
		{nil, true},
		{unix.EPROTONOSUPPORT, true},
		{os.NewSyscallError("socket", unix.EPROTONOSUPPORT), true},
		{unix.EOPNOTSUPP, true},
		{unix.EAFNOSUPPORT, true},
		{unix.EPERM, false},
		{unix.EMFILE, false},
		{unix.ENOBUFS, false},
		{unix.EAGAIN, false},
		{netlink.ErrDumpInterrupted, false},
	} {
		if got := noneOf(c.err); got != c.none {
			t.Errorf("%v: none %v, want %v", c.err, got, c.none)
		}
	}
}

// A list that changed while it was told is asked for again, not forever.
func TestDump(t *testing.T) {
	for interrupted := range dumpTries + 2 {
		t.Run(fmt.Sprint(interrupted), func(t *testing.T) {
			asked := 0
			list, err := dump(func() ([]int, error) {
				if asked++; asked <= interrupted {
					return nil, netlink.ErrDumpInterrupted
				}
				return []int{asked}, nil
			})
			if failed := interrupted >= dumpTries; failed != (err != nil) || failed != (len(list) == 0) || asked != min(interrupted+1, dumpTries) {
				t.Errorf("asked %d times: %v, %v", asked, list, err)
			}
		})
	}
}

// find asks for the way to a peer, and judges it.
func (r *routes) find(peer, local netip.Addr) route {
	a := r.ask(peer, local, 0)
	return r.judge(peer, local, &a)
}

// The rest after a look is over when the underlay has been quiet for that long: what is announced then is looked at as soon as the burst has settled, however long
// looks take. An underlay that never stands still gets its rest.
func TestRoutesPatience(t *testing.T) {
	r := new(routes)
	began := time.Now()
	if got := r.patience(began); got != routeSettle {
		t.Errorf("before any look: %s, want %s", got, routeSettle)
	}
	const took = time.Second
	ended := began.Add(took)
	r.looked(began, ended)
	for _, c := range []struct{ quiet, want time.Duration }{
		{0, routeRest * took},
		{3 * took, (routeRest - 3) * took},
		{routeRest * took, routeSettle},
		{time.Hour, routeSettle},
	} {
		if got := r.patience(ended.Add(c.quiet)); got != c.want {
			t.Errorf("%s after a look that took %s: %s, want %s", c.quiet, took, got, c.want)
		}
	}
}
