package fdb

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestParseMAC(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want MAC
		ok   bool
	}{
		{"02:00:00:00:00:01", 0x020000000001, true},
		{"aa:Bb:cC:DD:0e:f9", 0xaabbccdd0ef9, true},
		{"02-00-00-00-00-01", 0x020000000001, true},
		{"ff:ff:ff:ff:ff:ff", 0xffffffffffff, true},
		{"00:00:00:00:00:00", 0, true},
		{"", 0, false},
		{"02:00:00:00:00:0", 0, false},
		{"02:00:00:00:00:001", 0, false},
		{"02:00:00:00:00-01", 0, false},
		{"02:00:00:00:00:0g", 0, false},
		{"0200:00:00:00:001", 0, false},
		{"02.00.00.00.00.01", 0, false},
		{"+2:00:00:00:00:01", 0, false},
		{"02:00:00:00:00:0\xff", 0, false},
	} {
		got, err := ParseMAC(tt.in)
		if got != tt.want || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrMAC) {
			t.Errorf("ParseMAC(%q) = %v, %v; want %v, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

func TestMACBytes(t *testing.T) {
	b := []byte{0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0xff}
	m := FromBytes(b)
	if want := MAC(0x021122334455); m != want {
		t.Fatalf("FromBytes = %#x, want %#x", uint64(m), uint64(want))
	}
	var back [6]byte
	if m.PutBytes(back[:]); string(back[:]) != string(b[:6]) {
		t.Errorf("PutBytes = %x, want %x", back, b[:6])
	}
	if got := m.String(); got != "02:11:22:33:44:55" {
		t.Errorf("String = %q", got)
	}
	if m.IsMulticast() || m.IsZero() || !MAC(0).IsZero() {
		t.Error("a station address counts as group or zero address, or zero does not as zero")
	}
	for _, s := range []string{"01:00:5e:00:00:01", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff"} {
		if m, err := ParseMAC(s); err != nil || !m.IsMulticast() {
			t.Errorf("%s: not a group address (%v)", s, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { m = FromBytes(b) }); n != 0 {
		t.Errorf("FromBytes allocates %v times", n)
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"02:00:00:00:00:01", "02-00-00-00-00-01", "02:00:00:00:00-01", "", "::::::::::::::::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			if m != 0 || !errors.Is(err, ErrMAC) {
				t.Fatalf("ParseMAC(%q) = %v, %v", s, m, err)
			}
			return
		}
		if want := strings.ReplaceAll(strings.ToLower(s), "-", ":"); m.String() != want {
			t.Fatalf("ParseMAC(%q).String() = %q", s, m)
		}
		var back MAC
		text, _ := m.AppendText(nil)
		if err := back.UnmarshalText(text); err != nil || back != m {
			t.Fatalf("round trip of %v: %v, %v", m, back, err)
		}
		// What this package accepts, the standard library reads as the same.
		hw, err := net.ParseMAC(s)
		if err != nil || FromBytes(hw) != m {
			t.Fatalf("net.ParseMAC(%q) = %v, %v; here %v", s, hw, err, m)
		}
	})
}

func TestDest(t *testing.T) {
	for _, tt := range []struct {
		d          Dest
		port, peer bool
		index      uint32
		text       string
	}{
		{None, false, false, 0, "none"},
		{PortDest(0), true, false, 0, "port 0"},
		{PeerDest(0), false, true, 0, "peer 0"},
		{PortDest(MaxIndex), true, false, MaxIndex, "port 4194303"},
		{PeerDest(MaxIndex), false, true, MaxIndex, "peer 4194303"},
		{PortDest(MaxIndex + 1), false, false, 0, "none"},
		{PeerDest(1 << 31), false, false, 0, "none"},
	} {
		if tt.d.IsPort() != tt.port || tt.d.IsPeer() != tt.peer || tt.d.Index() != tt.index || tt.d.String() != tt.text {
			t.Errorf("%#x: port %v peer %v index %d %q, want %+v", uint32(tt.d), tt.d.IsPort(), tt.d.IsPeer(), tt.d.Index(), tt.d, tt)
		}
	}
	if Dest(1<<30|1<<22).valid() || Dest(3<<22).valid() {
		t.Error("a Dest nobody can make counts as valid")
	}
}
