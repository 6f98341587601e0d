package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/ctl/api"
	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
)

// TestApply: what the file does not have goes, whoever brought it; a dry run and a refused one leave everything.
func TestApply(t *testing.T) {
	c, sw := start(t, baseFile)
	for _, edit := range []func(m *model.Model) error{
		func(m *model.Model) error { return addVNI(m, 50, &model.VNI{}) },
		func(m *model.Model) error { return addPort(m, "tap9", &model.Port{Type: "tap", VNI: 50}) },
		func(m *model.Model) error { return delPort(m, "tap0") },
		func(m *model.Model) error { m.Global.FastPath = model.FastPathOff; return nil },
	} {
		if err := c.Change(edit); err != nil {
			t.Fatal(err)
		}
	}
	running := c.Model()
	sw.Ops()
	want := []string{"set settings ", "del vni 50", "add port tap0", "del port tap9", "add fdb 02:00:00:00:00:0a vni 42"}
	check := func(step string, list []model.Difference, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		var got []string
		for _, d := range list {
			got = append(got, strings.Join([]string{string(d.Action), d.Object, d.Name}, " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	list, err := c.Apply(parse(t, baseFile), true)
	check("dry run", list, err)
	sw.Fail(func(op string) error {
		if op == "del port tap9" {
			return errTest
		}
		return nil
	})
	if _, err := c.Apply(parse(t, baseFile), false); !errors.Is(err, errTest) {
		t.Errorf("the switch refuses: %v", err)
	}
	sw.Fail(nil)
	if c.Model() != running {
		t.Error("a dry run or a refused one changed the model")
	}
	sw.Ops()
	list, err = c.Apply(parse(t, baseFile), false)
	check("applied", list, err)
	if d := c.Model().Diff(parse(t, baseFile)); len(d) > 0 {
		t.Errorf("the running state is not the file: %+v", d)
	}
	want = nil
	sw.Ops()
	list, err = c.Apply(parse(t, baseFile), false)
	check("once more", list, err)
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("once more did %v", ops)
	}
	if _, err := c.Apply(parse(t, strings.Replace(baseFile, "local: 192.0.2.1", "local: 192.0.2.9", 1)), false); err == nil || !strings.Contains(err.Error(), "local changed from 192.0.2.1 to 192.0.2.9") {
		t.Errorf("another address: %v", err)
	}
}

// TestReloadAfterApply: a reload takes the difference to what was applied.
func TestReloadAfterApply(t *testing.T) {
	c, _ := start(t, baseFile)
	other := strings.Replace(baseFile, "{vni: 43, ageing: 60s}", "{vni: 43, ageing: 90s}\n- {vni: 77}", 1)
	if _, err := c.Apply(parse(t, other), false); err != nil {
		t.Fatal(err)
	}
	if err := c.Change(func(m *model.Model) error { return addVNI(m, 50, &model.VNI{}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(parse(t, baseFile)); err != nil {
		t.Fatal(err)
	}
	d := c.Model().Diff(parse(t, baseFile))
	if len(d) != 1 || d[0].Name != "50" {
		t.Errorf("beside what came at run time: %+v", d)
	}
}

// TestApplyRandom: whatever is running becomes whatever is valid, and the switch is as after a start with that.
func TestApplyRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	c, sw := start(t, baseFile)
	for i := range 300 {
		next := c.Model().Clone()
		for range 1 + rng.IntN(20) {
			tried := next.Clone()
			randomCommand(rng, tried)
			for name, p := range tried.Ports.All() {
				if p.NetNS != "" { // which is not there
					c := *p
					c.NetNS = ""
					tried.Ports.Put(name, &c)
				}
			}
			tried.Normalize()
			if tried.Check() == nil && !clashes(tried) {
				next = tried
			}
		}
		differs := len(next.Diff(c.Model())) > 0
		list, err := c.Apply(next, false)
		if err != nil || differs != (len(list) > 0) {
			t.Fatalf("step %d: differs %v, applied %+v, %v", i, differs, list, err)
		}
		if d := c.Model().Diff(next); len(d) > 0 {
			t.Fatalf("step %d: left over: %+v", i, d)
		}
		fresh := ctltest.New(sw.Config)
		if _, err := New(context.Background(), fresh, next, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh.State(), sw.State()); diff != "" {
			t.Fatalf("step %d (-start +applied):\n%s", i, diff)
		}
	}
}

// TestApplyOverHTTP holds status, field and text of what is refused.
func TestApplyOverHTTP(t *testing.T) {
	c, sw := start(t, baseFile)
	h := Handler(c)
	send := func(s api.ApplySpec) (int, string) {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		w := call(h, "POST", "/v1/apply", string(b))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, r := range []struct {
		spec    api.ApplySpec
		status  int
		message string
	}{
		{api.ApplySpec{}, http.StatusBadRequest, "text is missing: it is the contents of a configuration file"},
		{api.ApplySpec{File: "a.yaml", Text: "local: 192.0.2.1\nvnis: [{vni: 0}]"}, http.StatusUnprocessableEntity, "a.yaml:2:14: vni: 0 is out of range"},
		{api.ApplySpec{Text: "local: [}"}, http.StatusUnprocessableEntity, "text:1:"},
		{api.ApplySpec{File: "a.yaml", Text: "local: 192.0.2.1\ndstport: 8472"}, http.StatusUnprocessableEntity, "a.yaml:2:10: dstport changed from 4789 to 8472"},
		{api.ApplySpec{File: "a.yaml", Text: "interface: eth9"}, http.StatusUnprocessableEntity, "a.yaml:1:12: interface eth9 is not where this vtepd took its address from: write local: 192.0.2.1"},
	} {
		status, answer := send(r.spec)
		var e api.Error
		if err := json.Unmarshal([]byte(answer), &e); err != nil || status != r.status || !strings.HasPrefix(e.Message, r.message) || e.Field != "text" {
			t.Errorf("%+v: %d %s, want %d %s", r.spec, status, answer, r.status, r.message)
		}
	}
	if status, answer := send(api.ApplySpec{File: strings.Repeat("x", 4097), Text: baseFile}); status != http.StatusUnprocessableEntity || !strings.HasPrefix(answer, `{"error":"file: a name of 4097 bytes`) {
		t.Errorf("a name without end: %d %.100s", status, answer)
	}
	if ops := sw.Ops(); len(ops) > 0 {
		t.Errorf("refused, and did %v", ops)
	}
	text := strings.Replace(baseFile, "- {vni: 43, ageing: 60s}", "- {vni: 43, peers: [192.0.2.7]}", 1)
	want := `{"differences":[{"action":"set","object":"vni","name":"43","values":[{"name":"peers","added":["192.0.2.7"]},{"name":"ageing","from":"1m"}]}]}`
	for _, dry := range []bool{true, false} {
		if status, answer := send(api.ApplySpec{Text: text, DryRun: dry}); status != http.StatusOK || answer != want {
			t.Errorf("dry run %v: %d %s", dry, status, answer)
		}
	}
	if status, answer := send(api.ApplySpec{Text: text}); status != http.StatusOK || answer != `{"differences":[]}` {
		t.Errorf("once more: %d %s", status, answer)
	}
}
