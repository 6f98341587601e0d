package xdp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadOnlyPins: where a bpffs became read-only after a process was killed, its programs go all the same, and nobody else's; whoever comes is told how to
// mend it before it begins.
func TestReadOnlyPins(t *testing.T) {
	t.Parallel()
	for _, decap := range []DecapMode{TCX, XDPNative} {
		s := &succession{t: t, kind: "veth"}
		s.begin(decap)
		wire, port := s.a.host.Index(s.a.wire.Name), s.sa.port.Ifindex
		if err := s.a.f.Abandon(); err != nil {
			t.Fatal(err)
		}
		root := filepath.Dir(s.options.PinDir)
		remount := func(flags uintptr) {
			t.Helper()
			if err := unix.Mount("", root, "", unix.MS_REMOUNT|flags, ""); err != nil {
				t.Fatal(err)
			}
		}
		remount(unix.MS_RDONLY)
		s.a.do(func() error {
			if _, err := Open(s.options); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "mount -o remount,rw "+root) {
				t.Errorf("open: %v", err)
			}
			return nil
		})
		if n := s.a.programs(wire) + s.a.programs(port); n < 2 {
			t.Errorf("%d programs are left for this test", n)
		}
		// Another's on the same interfaces, as a successor without pins has them.
		o := s.options
		o.PinDir, o.Decap = "", TCX
		s.a.reopen(o, s.b.host.Underlay4())
		s.a.do(func() error {
			_, err := s.a.f.AttachUnderlay(wire)
			return errors.Join(s.a.f.AttachPort(port, Ingress, -1), err)
		})
		for i, want := range []int{s.a.programs(wire) + s.a.programs(port) - 2, 0} {
			s.a.do(func() error {
				n, err := Detach(s.options.PinDir)
				if n != want {
					t.Errorf("time %d: %d programs were detached, want %d", i+1, n, want)
				}
				return err
			})
		}
		if n, m := s.a.programs(wire), s.a.programs(port); n != 1 || m != 1 {
			t.Errorf("%d programs are left on the wire and %d at the port, want 1 and 1", n, m)
		}
		s.a.do(func() error {
			if dropped, err := Drop(s.options.PinDir); dropped || !errors.Is(err, ErrReadOnly) {
				t.Errorf("drop: %v, %v", dropped, err)
			}
			return nil
		})
		if err := s.a.f.Close(); err != nil {
			t.Error(err)
		}

		remount(0)
		s.a.reopen(s.options, s.b.host.Underlay4())
		s.a.do(func() error { return s.a.f.AttachPort(port, Ingress, -1) })
		if err := s.a.f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.options.PinDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the pin directory afterwards: %v", err)
		}
	}
}
