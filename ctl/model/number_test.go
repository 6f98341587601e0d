package model

import (
	"strings"
	"testing"
	"time"
)

// TestLeadingZeros: iproute2 and YAML 1.1 read 010 as 8, YAML 1.2 as 10, and whoever pads numbers means 10.
func TestLeadingZeros(t *testing.T) {
	drop := func(_ any, err error) error { return err }
	for name, parse := range map[string]func(string) error{
		"VNI":       func(s string) error { return drop(ParseVNI(s)) },
		"VLAN ID":   func(s string) error { return drop(ParseVID(s)) },
		"VLAN IDs":  func(s string) error { return drop(ParseVIDs("5," + s + "-30")) },
		"UDP port":  func(s string) error { return drop(ParsePort(s)) },
		"UDP ports": func(s string) error { return drop(ParsePortRange(s + "-50000")) },
		"peer":      func(s string) error { return drop(ParsePeer("192.0.2.2:" + s)) },
		"IPv6 peer": func(s string) error { return drop(ParsePeer("[2001:db8::2]:" + s)) },
		"group":     func(s string) error { return drop(ParseMulticast("239.1.1.1:" + s)) },
		"TTL":       func(s string) error { return drop(ParseTTL(s)) },
		"DSCP":      func(s string) error { return drop(ParseDSCP(s)) },
		"number":    func(s string) error { return drop(ParseMaxMACs(s)) },
		"group IDs": func(s string) error { return drop(ParseGBPRanges(s + ",7")) },
		"workers":   func(s string) error { return drop(ParseWorkers(s)) },
	} {
		err := parse("010")
		if err == nil || !strings.Contains(err.Error(), `begins with a zero, which some programs read as octal: write `) {
			t.Errorf("%s: %v", name, err)
		}
		if err := parse("10"); err != nil {
			t.Errorf("%s without the zero: %v", name, err)
		}
	}
	for s, want := range map[string]string{
		"010": `"010" begins with a zero, which some programs read as octal: write 10, or 8 where that is meant`,
		"09":  `"09" begins with a zero, which some programs read as octal: write 9`,
		"007": `"007" begins with a zero, which some programs read as octal: write 7`,
		"00":  `"00" begins with a zero, which some programs read as octal: write 0`,
		"0x9": `"0x9" is not a number of workers: expected a number from 0 to 256`,
		"0":   "",
	} {
		got := ""
		if _, err := ParseWorkers(s); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", s, got, want)
		}
	}
	if d, err := ParseDuration("05m"); d != 5*time.Minute || err != nil {
		t.Errorf("a duration: %v, %v", d, err)
	}
	if d, err := ParseDuration("0"); d != 0 || err != nil {
		t.Errorf("no duration: %v, %v", d, err)
	}
	for _, s := range []string{"010", "0", "00a"} {
		if got, err := ParsePortName(s); got != s || err != nil {
			t.Errorf("a name: %q, %v", got, err)
		}
	}
	if m, err := ParseMAC("02:00:00:00:00:01"); m != 0x020000000001 || err != nil {
		t.Errorf("a MAC address: %v, %v", m, err)
	}
}
