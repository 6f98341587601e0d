package xdp

import (
	"path/filepath"
	"testing"

	"vtepd/bench/lab"
)

func TestOwnSys(t *testing.T) {
	h := lab.New(t).Host("a")
	name := filepath.Base(h.Path())
	const plain = "22 26 0:21 / /sys rw,relatime shared:2 - sysfs sysfs rw\n45 22 0:38 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n"
	for _, c := range []struct{ mountinfo, want string }{
		{"", ""},
		{plain, ""},
		{"48 44 0:39 / /sys rw,relatime - sysfs " + name + " rw\n", name},
		{plain + "48 44 0:39 / /sys rw,relatime - sysfs " + name + " rw\n", name},
		{"48 44 0:39 / /sys rw,relatime - sysfs nosuchnamespace rw\n", ""},
		{"48 44 0:39 / /sys rw,relatime - sysfs ../" + name + " rw\n", ""},
		{"48 44 0:39 / /sys", ""},
	} {
		if got := ownSys(c.mountinfo); got != c.want {
			t.Errorf("%q: %q, want %q", c.mountinfo, got, c.want)
		}
	}
	// As iproute2 really does it.
	out, err := h.Command("ip", "netns", "exec", name, "cat", "/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if got := ownSys(out); got != name {
		t.Errorf("under ip netns exec: %q, want %q:\n%s", got, name, out)
	}
}
