package underlay

import (
	"net/netip"
	"testing"
	"time"
)

func FuzzHint(f *testing.F) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	good4 := append([]byte{3, 4, 0, 0, 0, 0, 0x05, 0x78}, []byte{0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 203, 0, 113, 2, 0xc0, 0, 0x12, 0xb5}...)
	good6 := make([]byte, 8+40+4)
	copy(good6, []byte{2, 0, 0, 0, 0, 0, 0x05, 0x78, 0x60, 0, 0, 0, 0x05, 0xb4, 17, 64})
	copy(good6[16:], v6.AsSlice())
	copy(good6[32:], netip.MustParseAddr("2001:db8:b::2").AsSlice())
	copy(good6[48:], []byte{0xc0, 0, 0x12, 0xb5})
	for _, c := range []struct {
		b     []byte
		local netip.Addr
		dest  string
	}{{good4, v4, "203.0.113.2:4789"}, {good6, v6, "[2001:db8:b::2]:4789"}} {
		h, ok := parseHint(c.b, c.local)
		if want := (Hint{netip.MustParseAddrPort(c.dest), 1400}); !ok || h != want {
			f.Fatalf("%+v %t, want %+v", h, ok, want)
		}
		if _, ok := parseHint(c.b, netip.MustParseAddr(map[bool]string{true: "192.0.2.9", false: "2001:db8::9"}[c.local.Is4()])); ok {
			f.Fatal("about a datagram of another host, and taken")
		}
		f.Add(c.b, c.local.Is4())
	}
	f.Fuzz(func(t *testing.T, b []byte, four bool) {
		local := v6
		if four {
			local = v4
		}
		if h, ok := parseHint(b, local); ok && (h.MTU <= 0 || h.MTU > 65575 || h.Dest.Addr().Is4() != four) {
			t.Errorf("%+v", h)
		}
	})
}

// Whoever waits for hints is sent home at once: a switch that stops waits for him.
func TestHintsEnd(t *testing.T) {
	newLab(t)
	for _, local := range []string{addrA4, addrA6} {
		hints, err := OpenHints(netip.MustParseAddr(local))
		must(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			hints.Next()
		}()
		select {
		case <-ended:
			t.Fatalf("%s: nothing came, and the wait ended", local)
		case <-time.After(300 * time.Millisecond):
		}
		hints.End()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatalf("%s: the wait goes on", local)
		}
		if hint, ok := hints.Next(); ok {
			t.Errorf("%s: after the end: %+v", local, hint)
		}
		hints.Close()
		hints.End()
	}
}
