package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck verifies files; it needs no root.
func TestCheck(t *testing.T) {
	const head = "local: 192.0.2.1\nvlans:\n- {vid: 10, vni: 10010}\nvnis:\n- {vni: 42, peers: [192.0.2.2]}\n"
	for _, c := range []struct {
		name, file string
		code       int
		says       string // after the path
	}{
		{"good", head + "ports:\n- {name: tap0, type: tap, vni: 42}\n- {name: tap1, type: tap, trunk: [10], native: 10}\n", 0, ": ok"},
		{"unknown key", head + "colour: blue\n", 1, `:6:1: unknown key "colour"`},
		{"doubled key", head + "local: 192.0.2.3\n", 1, `:6:1: key "local" is doubled: first on line 1`},
		{"bad address", "local: 192.0.2.1\nvnis:\n- {vni: 42, peers: [192.0.2.2, 192.0.2.256]}\n", 1, `:3:32: peers: "192.0.2.256" is not an IP address`},
		{"VNI out of range", "local: 192.0.2.1\nvnis:\n- {vni: 16777216}\n", 1, ":3:9: vni: 16777216 is out of range"},
		{"undeclared VNI", head + "ports:\n- {name: tap0, type: tap, vni: 43}\n", 1, ":7:32: port tap0 names undeclared VNI 43"},
		{"undeclared VLAN", head + "ports:\n- {name: tap0, type: tap, access: 11}\n", 1, ":7:35: port tap0 names undeclared VLAN 11"},
		{"socket that is a directory", head + "socket: /tmp\n", 1, `:6:9: socket: "/tmp" names a directory: write the path of the socket itself, such as /tmp/vtepd.sock`},
		{"no YAML", "local: [192.0.2.1\n", 1, ":1:8: syntax"},
		{"empty", "", 1, ": neither local nor interface is set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vtepd.yaml")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got := execute(t, nil, vtepdPath, "--config", path, "--check")
			said, silent := got.stderr, got.stdout
			if c.code == 0 {
				said, silent = got.stdout, got.stderr
			}
			if got.code != c.code || !strings.Contains(said, path+c.says) || silent != "" || strings.Count(said, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and one line with %q", got.code, got.stdout, got.stderr, c.code, c.says)
			}
		})
	}
}

// TestShippedExample holds the example file that is installed to what vtepd takes.
func TestShippedExample(t *testing.T) {
	if got := execute(t, nil, vtepdPath, "--config", "vtepd.yaml", "--check"); got.code != 0 {
		t.Errorf("vtepd.yaml: exit code %d, %s", got.code, got.stderr)
	}
}

// TestVtepdExitCodes: a command line or an environment that cannot work ends with 1 and one line that says how to mend it.
func TestVtepdExitCodes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 1, "vtepd: nothing to do: give --config FILE, or --local IP"},
		{[]string{"--config", missing}, 1, "vtepd: " + missing + ": no such file or directory"},
		{[]string{"--confg", "x"}, 1, `unknown flag: --confg (did you mean "--config"?)`},
		{[]string{"--check"}, 1, "add --config FILE"},
		{[]string{"--local", "192.0.2.1", "--tap", "tap0"}, 1, "add --vni N"},
		{[]string{"--version"}, 0, "vtepd "},
		{[]string{"--help"}, 0, "Exit codes: 0 clean stop, 1 bad configuration or environment, 2 internal failure."},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := execute(t, nil, vtepdPath, c.args...)
			if got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.says) || c.code == 1 && strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", got.code, got.stdout, got.stderr, c.code, c.says)
			}
		})
	}
}
