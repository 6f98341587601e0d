package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestUnitKeepsTrying: no failure, nor the number of them, has systemd give up. The exit code of a wrong file is that of an address that comes late.
func TestUnitKeepsTrying(t *testing.T) {
	unit, err := os.ReadFile("vtepd.service")
	if err != nil {
		t.Fatal(err)
	}
	head, service, _ := strings.Cut(string(unit), "\n[Service]\n")
	for _, c := range []struct{ in, line string }{{head, "StartLimitIntervalSec=0"}, {service, "Restart=on-failure"}} {
		if !strings.Contains(c.in, "\n"+c.line+"\n") {
			t.Errorf("the unit lacks %s, or has it in the wrong section", c.line)
		}
	}
	if strings.Contains(service, "RestartPreventExitStatus") {
		t.Error("the unit gives up at an exit code")
	}
}

// TestUnitCapabilities runs vtepd with the capabilities that the systemd unit leaves it and no others, through what needs them: TAPs with addresses, a TAP and a veth
// pair in a namespace, large receive buffers, a reload, a stop.
func TestUnitCapabilities(t *testing.T) {
	unit, err := os.ReadFile("vtepd.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit bounds no capabilities")
	}
	bounding := "-all"
	for _, c := range strings.Fields(string(m[1])) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	l, ha, hb, _ := pair(t)
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("needs setpriv (Debian: util-linux)")
	}
	blue := l.Host("blue")
	port := fmt.Sprintf("- {name: tap1, type: tap, vni: 42, netns: %s, addresses: [198.51.100.77/24]}\n", blue.Name())
	veth := fmt.Sprintf("- {name: veth1, type: veth, vni: 42, netns: %s, addresses: [198.51.100.79/24]}\n", blue.Name())
	config := overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes(), port, veth)
	a := prepare(t, l, ha, config)
	a.Process, err = ha.Start("setpriv", append([]string{"--bounding-set", bounding, "--no-new-privs", vtepdPath}, a.args()...)...)
	if err != nil {
		t.Fatal(err)
	}
	a.awaitStart(t)
	b := start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	reach(t, blue, b.host.Overlay4())
	if line := a.reload(t, config+strings.ReplaceAll(strings.ReplaceAll(port, "tap1", "tap2"), "198.51.100.77", "198.51.100.78")); !strings.Contains(line, "1 port added") {
		t.Errorf("reload: %s", line)
	}
	a.stop(t, syscall.SIGTERM)
	if strings.Contains(a.Output(), "level=WARN") || strings.Contains(a.Output(), "level=ERROR") {
		t.Errorf("with the unit's capabilities: %s", a.Output())
	}
	if got := fmt.Sprint(links(t, blue)); got != "[lo]" {
		t.Errorf("left in the namespace: %s", got)
	}
}
