package netdev

import (
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/device"
)

// TestMadeInPassing: at no moment is there an interface of the pair's name that does not say whose it is, nor under another name than one that can be cleared
// away: wherever the process is killed, the next one finds its way.
func TestMadeInPassing(t *testing.T) {
	s := newStage(t)
	ns, err := netns.GetFromPath(s.host.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	updates, done := make(chan netlink.LinkUpdate, 256), make(chan struct{})
	if err := netlink.LinkSubscribeAt(ns, updates, done); err != nil {
		t.Fatal(err)
	}
	defer close(done)
	d, err := s.openVeth(func(o *VethOptions) { o.Instance = "/run/mine.sock" })
	if err != nil {
		t.Fatal(err)
	}
	for end := time.After(lab.Patience); ; {
		select {
		case u := <-updates:
			a := u.Attrs()
			if a.Index != d.ifindex {
				continue
			}
			if a.Name == "web0" && a.Alias != "made by vtepd at /run/mine.sock" {
				t.Fatalf("announced as %s with alias %q", a.Name, a.Alias)
			}
			if a.Name != "web0" && !isPassing(u.Link) {
				t.Fatalf("announced as %s, which nobody would clear away", a.Name)
			}
			if a.Name == "web0" && a.RawFlags&unix.IFF_UP != 0 {
				return
			}
		case <-end:
			t.Fatal("the pair was not announced")
		}
	}
}

// TestRemovePassing: a pair with a passing name goes, whoever made it, unless somebody is making it, holds it or has it in use.
func TestRemovePassing(t *testing.T) {
	s := newStage(t)
	for _, name := range []string{"vtepd-0000beef", "vtepd-0000cafg", "vtepd-1111aaaa", "vtepd-2222aaaa", "vtepd-3333aaaa", "vtepd-4444aaaa", "vtepd-5555aaaa", "vtepd-6666aaa", "vtepd7777aaaa"} {
		s.host.Must("ip", "link", "add", name, "type", "veth", "peer", "name", "p"+name[len(name)-8:])
	}
	s.host.Must("ip", "link", "set", "p0000beef", "netns", s.workload.Name(), "name", "inner")
	s.host.Must("ip", "link", "set", "vtepd-1111aaaa", "alias", "made by vtepd at /run/other.sock")
	s.host.Must("ip", "link", "set", "vtepd-2222aaaa", "alias", "somebody's")
	s.host.Must("ip", "link", "set", "vtepd-3333aaaa", "up")
	s.do(func() error {
		making, err := device.ClaimPassing("vtepd-4444aaaa")
		if err != nil {
			return err
		}
		defer unix.Close(making)
		held, err := device.Claim(s.host.Index("vtepd-5555aaaa"))
		if err != nil {
			return err
		}
		defer unix.Close(held)
		got, err := RemoveLeft("", nil, nil)
		slices.Sort(got)
		if want := []string{"vtepd-0000beef", "vtepd-1111aaaa"}; !slices.Equal(got, want) {
			t.Errorf("removed %q, want %q", got, want)
		}
		return err
	})
	s.do(func() error {
		got, err := RemoveLeft("", nil, nil)
		slices.Sort(got)
		if want := []string{"vtepd-4444aaaa", "vtepd-5555aaaa"}; !slices.Equal(got, want) {
			t.Errorf("with nobody there: removed %q, want %q", got, want)
		}
		return err
	})
	// What barred the way is gone with it.
	if _, err := s.openVeth(nil); err != nil {
		t.Error(err)
	}
}
