package device_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"

	"vtepd/bench/lab"
	"vtepd/dataplane/device"
)

// TestAddressesAmongChanges: addresses are listed whole while those of other interfaces come and go, which spoils the kernel's answers.
func TestAddressesAmongChanges(t *testing.T) {
	h := lab.New(t).Host("a")
	var batch strings.Builder // more addresses than one message of the kernel holds
	fmt.Fprintln(&batch, "link add x0 type veth peer name x1")
	for i := range 250 {
		for j := range 4 {
			fmt.Fprintf(&batch, "address add 192.0.2.%d/%d dev x1\n", 1+i, 29+j)
		}
	}
	h.Must("sh", "-c", fmt.Sprintf("ip -batch - <<END\n%sEND", batch.String()))
	h.Must("ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
	want := netip.MustParsePrefix("198.51.100.1/24")
	h.Addr("p0", want)
	var over atomic.Bool
	churned := h.Go(func() error {
		nl := h.Netlink()
		l, err := nl.LinkByName("x0")
		if err != nil {
			return err
		}
		for i := 0; !over.Load(); i++ {
			a := &netlink.Addr{IPNet: device.KernelAddr(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i%250)}), 32)).IPNet}
			if err := nl.AddrReplace(l, a); err != nil {
				return err
			}
			if err := nl.AddrDel(l, a); err != nil {
				return err
			}
		}
		return nil
	})
	err := h.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		l, err := nl.LinkByName("p0")
		if err != nil {
			return err
		}
		for range 300 {
			got, err := device.SettledAddresses(nl, l)
			if err != nil {
				return err
			}
			if len(got) != 1 || got[0].IPNet.String() != want.String() {
				t.Fatalf("addresses %v, want %v", got, want)
			}
		}
		return nil
	})
	over.Store(true)
	if e := <-churned; e != nil {
		t.Error(e)
	}
	if err != nil {
		t.Error(err)
	}
}
