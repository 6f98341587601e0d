package ctl

import (
	"strings"
	"testing"

	"vtepd/ctl/config"
	"vtepd/ctl/model"
	"vtepd/fdb"
)

// TestReloadOfPlaces: what run time has put at a port that the file drops does not hold it, be it in place of an entry of the file, which is in force again where its
// place is there.
func TestReloadOfPlaces(t *testing.T) {
	key := model.StaticKey{VNI: 42, MAC: 0x020000000009}
	atTap0 := []string{"PUT", "/v1/fdb", `{"mac":"02:00:00:00:00:09","vni":42,"port":"tap0"}`}
	noTap0 := []string{"- {name: tap0, vni: 42}\n", "", "- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0, state: sticky}\n", ""}
	for name, c := range map[string]struct {
		file     []string
		runtime  [][]string
		replaces []string
		want     string // of the entry; "" is none
	}{
		"the peer of the file":                   {nil, [][]string{atTap0}, noTap0, "192.0.2.2"},
		"another peer of the file":               {nil, [][]string{atTap0}, append([]string{"dst: 192.0.2.2", "dst: 192.0.2.3"}, noTap0...), "192.0.2.3"},
		"none in the file":                       {[]string{"02:00:00:00:00:09", "02:00:00:00:00:08"}, [][]string{atTap0}, noTap0, ""},
		"of the file, whose port is gone":        {[]string{"dst: 192.0.2.2", "port: tap7", "- {name: tap1", "- {name: tap7, vni: 42}\n- {name: tap1"}, [][]string{atTap0, {"DELETE", "/v1/ports/tap7", ""}}, noTap0, ""},
		"of the file, whose port has moved":      {[]string{"dst: 192.0.2.2", "port: tap7", "- {name: tap1", "- {name: tap7, vni: 42}\n- {name: tap1"}, [][]string{atTap0, {"PATCH", "/v1/ports/tap7", `{"vni":43}`}}, noTap0, ""},
		"the peer of the file, the port moves":   {nil, [][]string{atTap0}, []string{"tap0, vni: 42", "tap0, vni: 43", "- {mac: 02:00:00:00:00:0a, vni: 42, port: tap0, state: sticky}\n", ""}, "192.0.2.2"},
		"still at a port that the file does not": {nil, [][]string{atTap0}, []string{"- {name: tap1, access: 10}\n", ""}, "tap0"},
	} {
		text := strings.NewReplacer(c.file...).Replace(baseFile)
		ctl, sw := start(t, text)
		for _, r := range c.runtime {
			if err := answered(Handler(ctl), r[0], r[1], r[2]); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ctl.Reload(parse(t, strings.NewReplacer(c.replaces...).Replace(text))); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if s, has := ctl.Model().Statics.Get(key); has {
			got = s.Port
			if s.Dst.IsValid() {
				got = s.Dst.Addr().String()
			}
		}
		if got != c.want {
			t.Errorf("%s: the entry is at %q, want %q", name, got, c.want)
		}
		if e, err := sw.FDBGet(42, key.MAC); (err == nil && e.State == fdb.Static) != (c.want != "") {
			t.Errorf("%s: the switch has %+v, %v", name, e, err)
		}
	}
}

// TestReloadAgainstRunTime: a file that is right by itself is not told to lack what it has, and run time took away, without a word of that.
func TestReloadAgainstRunTime(t *testing.T) {
	for _, c := range []struct {
		runtime  [][]string
		replaces []string
		begins   string
	}{
		{[][]string{{"DELETE", "/v1/vnis/43", ""}}, []string{"- {name: tap1", "- {name: tap9, vni: 43}\n- {name: tap1"}, "test.yaml:9:21: port tap9 names undeclared VNI 43"},
		{[][]string{{"DELETE", "/v1/ports/tap2", ""}, {"DELETE", "/v1/vlans/20", ""}}, []string{"- {name: tap1", "- {name: tap9, access: 20}\n- {name: tap1"}, "test.yaml:9:24: port tap9 names undeclared VLAN 20"},
		{[][]string{{"DELETE", "/v1/ports/tap1", ""}}, []string{"static:\n", "static:\n- {mac: 02:00:00:00:00:0e, vni: 10010, port: tap1}\n"}, "test.yaml:12:46: static entry 02:00:00:00:00:0e names unknown port tap1"},
		{[][]string{{"PATCH", "/v1/ports/tap1", `{"vni":43}`}}, []string{"static:\n", "static:\n- {mac: 02:00:00:00:00:0e, vni: 10010, port: tap1}\n"}, "test.yaml:12:46: static entry 02:00:00:00:00:0e: port tap1 is not in VNI 10010"},
	} {
		ctl, sw := start(t, baseFile)
		for _, r := range c.runtime {
			if err := answered(Handler(ctl), r[0], r[1], r[2]); err != nil {
				t.Fatal(err)
			}
		}
		before := sw.State()
		file, err := config.Parse("test.yaml", []byte(strings.NewReplacer(c.replaces...).Replace(baseFile)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ctl.Reload(file.Model)
		if err = file.Locate(err); !strings.HasPrefix(err.Error(), c.begins) || !strings.Contains(err.Error(), "; by itself the file is right, and what was changed at run time stands in its way") {
			t.Errorf("%v, want %s", err, c.begins)
		}
		if sw.State() != before {
			t.Errorf("%s: something changed", c.begins)
		}
		if _, err := ctl.Apply(file.Model, false); err != nil {
			t.Errorf("the advice does not help: %v", err)
		}
	}
}
