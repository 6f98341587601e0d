package ethtool_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/ethtool"
)

// onVeth opens one end of a pair, in its namespace.
//
//	a {eth0} ══ {eth0} b
func onVeth(t *testing.T, f func(d *ethtool.Device) error) {
	t.Helper()
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, lab.LinkOptions{Addressing: lab.Bare})
	err := a.Do(func() error {
		d, err := ethtool.Open("eth0")
		if err != nil {
			return err
		}
		defer d.Close()
		return f(d)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFeatures switches what can be switched, and leaves the rest alone.
func TestFeatures(t *testing.T) {
	onVeth(t, func(d *ethtool.Device) error {
		if driver, err := d.Driver(); err != nil || driver != "veth" {
			t.Errorf("driver %q, %v", driver, err)
		}
		before, err := d.Features()
		if err != nil {
			return err
		}
		const name, fixed = "tx-udp-segmentation", "loopback"
		if !before[name].On || before[name].Fixed || before[fixed].On || !before[fixed].Fixed {
			return fmt.Errorf("%s %+v, %s %+v", name, before[name], fixed, before[fixed])
		}
		if err := d.SetFeatures(map[string]bool{name: false, "no-such-feature": true}); err == nil {
			t.Error("switched a feature that there is not")
		}
		if err := d.SetFeatures(map[string]bool{name: false, fixed: true}); err != nil {
			return err
		}
		want := before
		want[name] = ethtool.Feature{}
		after, err := d.Features()
		if diff := cmp.Diff(want, after); diff != "" {
			t.Errorf("features (-want +got):\n%s", diff)
		}
		return err
	})
}

// TestValue reads back what was written.
func TestValue(t *testing.T) {
	onVeth(t, func(d *ethtool.Device) error {
		for _, want := range []uint32{1, 0} {
			if _, err := d.Value(unix.ETHTOOL_SGRO, want); err != nil {
				return err
			}
			if got, err := d.Value(unix.ETHTOOL_GGRO, 0); err != nil || got != want {
				t.Errorf("GRO %d, %v: want %d", got, err, want)
			}
		}
		d.Name = "gone"
		if _, err := d.Value(unix.ETHTOOL_GGRO, 0); !errors.Is(err, unix.ENODEV) {
			t.Errorf("no such device: %v", err)
		}
		return nil
	})
}
