package netdev

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vtepd/bench/lab"
)

// TestAbandon: a pair that a former process left is as it was after one that took it up and abandoned it, or failed to take it up. A new one goes.
func TestAbandon(t *testing.T) {
	s := newStage(t)
	d, err := s.openVeth(func(o *VethOptions) {
		o.MTU, o.Addresses = 1450, []netip.Prefix{netip.MustParsePrefix("198.51.100.77/24"), netip.MustParsePrefix("2001:db8::77/64")}
	})
	if err != nil {
		t.Fatal(err)
	}
	crash(t, d)
	s.workload.Must("ip", "address", "add", "198.51.100.99/24", "dev", "inner")
	look := func() string {
		var all []string
		for name, at := range map[string]*lab.Host{"web0": s.host, "inner": s.workload} {
			out := shows(t, at, name, true)
			all = append(all, regexp.MustCompile(`\d+: \w+|mtu \d+|[<,]UP|link/ether \S+|inet6? \S+|alias .*`).FindAllString(out, -1)...)
		}
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	before := look()
	if !strings.Contains(before, "inet6 2001:db8::77/64") || !strings.Contains(before, "mtu 1450") {
		t.Fatalf("this test proves nothing:\n%s", before)
	}
	changed := func(o *VethOptions) {
		o.MTU, o.MAC, o.Addresses = 1300, net.HardwareAddr{2, 0, 0, 0, 0, 0x77}, []netip.Prefix{netip.MustParsePrefix("198.51.100.78/24")}
	}
	if d, err = s.openVeth(changed); err != nil {
		t.Fatal(err)
	}
	if err := d.SetMTU(1400); err != nil {
		t.Fatal(err)
	}
	if err := d.Abandon(); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != before {
		t.Errorf("abandoned:\n%s\nas it was found:\n%s", got, before)
	}
	_, err = s.openVeth(func(o *VethOptions) {
		changed(o)
		o.MTU, o.Addresses = 1000, append(o.Addresses, netip.MustParsePrefix("2001:db8::78/64")) // which contradict each other
	})
	if got := look(); err == nil || got != before {
		t.Errorf("error %v, and left:\n%s\nas it was found:\n%s", err, got, before)
	}

	s.workload.Rename("inner", "outer")
	if d, err = s.openVeth(nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Abandon(); err != nil {
		t.Fatal(err)
	}
	shows(t, s.host, "web0", false)
	shows(t, s.workload, "inner", false)
}

// TestAbandonGivesOffloadsBack: what an offload that is switched off costs the workload's end of a pair that was taken up does not stay.
func TestAbandonGivesOffloadsBack(t *testing.T) {
	s := newStage(t)
	d, err := s.openVeth(nil)
	if err != nil {
		t.Fatal(err)
	}
	crash(t, d)
	look := func() string {
		link, err := s.workload.Netlink().LinkByName("inner")
		if err != nil {
			t.Fatal(err)
		}
		a := link.Attrs()
		return fmt.Sprintf("gso_max_size %d, for IPv4 %d\n%s", a.GSOMaxSize, a.GSOIPv4MaxSize, s.workload.Must("ethtool", "-k", "inner"))
	}
	before := look()
	if d, err = s.openVeth(func(o *VethOptions) { o.Offload = false }); err != nil {
		t.Fatal(err)
	}
	if err := d.SetSuperframes(20000, 20000); err != nil {
		t.Fatal(err)
	}
	if got := look(); got == before {
		t.Fatal("this test proves nothing")
	}
	if err := d.Abandon(); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != before {
		t.Errorf("abandoned:\n%s\nas it was found:\n%s", got, before)
	}
	refused := func(o *VethOptions) {
		o.Offload, o.MTU, o.Addresses = false, 1000, []netip.Prefix{netip.MustParsePrefix("2001:db8::78/64")}
	}
	if _, err = s.openVeth(refused); err == nil {
		t.Error("an IPv6 address with an MTU that IPv6 cannot have")
	}
	if got := look(); got != before {
		t.Errorf("not taken up:\n%s\nas it was found:\n%s", got, before)
	}
}
