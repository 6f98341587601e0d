package device

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestOptionsCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string // "": fine
	}{
		{"fine", func(o *Options) {}, ""},
		{"all of it", func(o *Options) {
			*o = Options{"web0", MaxQueues, 9000, net.HardwareAddr{2, 0, 0, 0, 0, 1}, "blue", []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}}
		}, ""},
		{"path of a namespace", func(o *Options) { o.NetNS = "/proc/1/ns/net" }, ""},
		{"no name", func(o *Options) { o.Name = "" }, "a name is required"},
		{"long name", func(o *Options) { o.Name = "abcdefghijklmnop" }, "at most 15"},
		{"pattern", func(o *Options) { o.Name = "web%d" }, "may not contain"},
		{"no queue", func(o *Options) { o.Queues = 0 }, "0 queues: must be 1 to 256"},
		{"too many queues", func(o *Options) { o.Queues = MaxQueues + 1 }, "257 queues"},
		{"mtu", func(o *Options) { o.MTU = -1 }, "mtu -1 must not be negative"},
		{"group MAC", func(o *Options) { o.MAC = net.HardwareAddr{1, 0, 0, 0, 0, 1} }, "group address"},
		{"no address", func(o *Options) { o.Addresses = []netip.Prefix{{}} }, "not an address with a prefix length"},
		{"relative namespace", func(o *Options) { o.NetNS = "a/b" }, "neither a name nor an absolute path"},
		{"namespace that is a directory", func(o *Options) { o.NetNS = ".." }, "neither a name nor an absolute path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Name: "web0", Queues: 1}
			c.change(&o)
			err := o.Check()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!errors.Is(err, ErrOption) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want ErrOption and %q", err, c.want)
			}
		})
	}
}

// A namespace that is not there is made by name; a path elsewhere is for no `ip netns add`.
func TestHowToNetNS(t *testing.T) {
	for name, want := range map[string]string{
		"blue": "`ip netns add blue`", NetNSDir + "/blue": "`ip netns add blue`", "/none/x": "write the path of one that is there", "/proc/99999999/ns/net": "/proc/PID/ns/net",
	} {
		fd, err := OpenNetNS(name)
		if !errors.Is(err, ErrNoNetNS) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d, %v, want ErrNoNetNS and %q", name, fd, err, want)
		}
	}
}
