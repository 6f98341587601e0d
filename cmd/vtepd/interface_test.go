package main_test

import (
	"strings"
	"testing"
)

// TestInterfaceGetsAnotherAddress: who gives the interface of the underlay another address, and has the file read again, is told that this takes a restart.
func TestInterfaceGetsAnotherAddress(t *testing.T) {
	l, h, other, _ := pair(t)
	config := strings.Replace(overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes()), `local: "`+h.Underlay4().String()+`"`, "interface: eth0", 1)
	d := start(t, l, h, config)
	const says = "msg=\"interface has another underlay address now: restart vtepd to use it\" interface=eth0 local=192.0.2.1 has=203.0.113.77\n"
	told := func(when string, want int) {
		t.Helper()
		if got := strings.Count(d.Output(), says); got != want {
			t.Errorf("%s: told %d times, want %d: %s", when, got, want, d.Output())
		}
	}
	h.Must("ip", "address", "add", "203.0.113.77/24", "dev", "eth0")
	d.reload(t, config)
	told("with both addresses", 0)
	h.Must("ip", "address", "del", h.Underlay4().String()+"/24", "dev", "eth0")
	d.reload(t, config)
	told("with the new address alone", 1)
	d.tell(t, "apply", d.file, "dry-run")
	told("after a dry run", 1)
	d.tell(t, "apply", d.file)
	told("after apply", 2)
	h.Must("ip", "-4", "address", "flush", "dev", "eth0")
	h.Must("ip", "-6", "address", "flush", "dev", "eth0")
	d.reload(t, config)
	told("without an address", 2)
}
