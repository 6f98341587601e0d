package dataplane

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRemedy: what the kernel refuses to the whole process is told with what to raise, and stays what it is for errors.Is.
func TestRemedy(t *testing.T) {
	for _, c := range []struct {
		err  error
		says string // "": the error stays as it is
	}{
		{unix.EMFILE, "raise LimitNOFILE= in its unit, or `ulimit -n`"},
		{unix.ENFILE, "sysctl -w fs.file-max=N"},
		{ErrGone, "try again then"},
		{unix.EINVAL, ""},
	} {
		was := fmt.Errorf("socket: %w", c.err)
		got := remedy(was, nil)
		if !errors.Is(got, c.err) || !strings.HasPrefix(got.Error(), was.Error()) || !strings.Contains(got.Error(), c.says) || c.says == "" && got != was {
			t.Errorf("%v becomes %v, want %q behind it", was, got, c.says)
		}
	}
	if err := remedy(nil, []privilege{netAdmin}); err != nil {
		t.Errorf("no error becomes %v", err)
	}
	// No kernel has a capability of this number: nobody has it in effect.
	without := privilege{63, "CAP_OF_NOBODY"}
	for _, err := range []error{unix.EPERM, unix.EACCES} {
		if got := remedy(err, []privilege{without}); !errors.Is(got, err) || !strings.Contains(got.Error(), "lacks CAP_OF_NOBODY: start it as root, or add that to AmbientCapabilities=") {
			t.Errorf("%v becomes %v", err, got)
		}
		if got := remedy(err, nil); got != err {
			t.Errorf("%v with every capability becomes %v", err, got)
		}
	}
}
