package dataplane

import (
	"fmt"
	"os"
	"testing"

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
