package main_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestStartRefusedWithLine: what the host refuses at the start is told with the line of the file that asks for it, where the file has one.
func TestStartRefusedWithLine(t *testing.T) {
	l, ha, _, _ := pair(t)
	local := ha.Underlay4().String()
	d := start(t, l, ha, "local: "+local+"\nfastpath: off\ndstport: 8472\nvnis: [{vni: 42}]\n")
	vnis := "fastpath: off\nvnis: [{vni: 42, group: 239.1.1.1}]\n"
	nowhere := filepath.Join(d.file, "s")
	for what, c := range map[string]struct{ file, says string }{
		"VRF":                   {"local: " + local + "\nvrf: red\n" + vnis, ":2:6: vrf red: not possible on this host: there is no such interface"},
		"group interface":       {"local: " + local + "\ngroup-interface: nosuch0\n" + vnis, ":2:18: vni 42: group 239.1.1.1: not possible on this host: interface nosuch0 is not there"},
		"address":               {"vnis: []\nlocal: 192.0.2.77\n", ":2:8: underlay: bind 192.0.2.77:4789: address is not on this host"},
		"address in a list":     {"local: ['2001:db8::77', 192.0.2.77]\n", ":1:9: underlay: bind [2001:db8::77]:4789: address is not on this host"},
		"port":                  {"local: " + local + "\ndstport: 8472\n", ":2:10: underlay: bind " + local + ":8472: port is in use"},
		"one of several ports":  {"local: " + local + "\nlisten: [4790, 8472]\n", ":2:16: underlay: bind " + local + ":8472: port is in use"},
		"control socket in use": {"local: " + local + "\nsocket: " + d.socket + "\n", ":2:9: control socket " + d.socket + ": in use by another vtepd"},
		"no place for a socket": {"local: " + local + "\nsocket: " + nowhere + "\n", ":2:9: control socket " + nowhere + ": not a directory"},
	} {
		refused := prepare(t, l, ha, c.file)
		args := refused.args()
		if strings.Contains(c.file, "socket: ") { // which an option would overrule
			args = []string{"--config", refused.file}
		}
		got := execute(t, ha, vtepdPath, args...)
		if got.code != 1 || !strings.HasPrefix(got.stderr, "vtepd: "+refused.file+c.says) && !strings.Contains(got.stderr, "\nvtepd: "+refused.file+c.says) {
			t.Errorf("%s: exit code %d, %s, want %q", what, got.code, got.stderr, c.says)
		}
	}
	// What stands nowhere in the file has no line of it.
	file := prepare(t, l, ha, "local: "+local+"\n").file
	if got := execute(t, ha, vtepdPath, "--config", file, "--socket", d.socket); !strings.HasPrefix(got.stderr, "vtepd: control socket "+d.socket+": in use by another vtepd") {
		t.Errorf("a socket by option: %s", got.stderr)
	}
}
