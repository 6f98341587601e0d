package ctl

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"vtepd/ctl/config"
	"vtepd/ctl/ctltest"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// failing makes operations fail as long as it is not told otherwise.
func failing(sw *ctltest.Switch, err error, ops ...string) {
	sw.Fail(func(op string) error {
		for _, o := range ops {
			if op == o {
				return fmt.Errorf("%s: %w", op, err)
			}
		}
		return nil
	})
}

// TestNotUndoneIsTold: whoever asked hears what could not be undone, and that something has changed: by the API, with a line of the file, and where the refusal has words
// of its own.
func TestNotUndoneIsTold(t *testing.T) {
	const rest = "and vni add 50 could not be undone: del vni 50: "
	c, sw := start(t, baseFile)
	for _, r := range []struct {
		err     error
		failing string
		body    string
	}{
		{dataplane.ErrExists, "add port tap9", `{"method":"POST","path":"/v1/ports","body":{"port":"tap9","vni":50}}`},
		{fdb.ErrFull, "put 50 02:00:00:00:00:01", `{"method":"POST","path":"/v1/fdb","body":{"mac":"02:00:00:00:00:01","vni":50,"dst":"192.0.2.2"}}`},
	} {
		failing(sw, r.err, r.failing, "del vni 50")
		w := call(Handler(c), "POST", "/v1/batch", `[{"method":"POST","path":"/v1/vnis","body":{"vni":50}},`+r.body+`]`)
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), rest) || !strings.Contains(w.Body.String(), `"request":2`) {
			t.Errorf("%s: %d %s", r.failing, w.Code, w.Body)
		}
	}

	file, err := config.Parse("test.yaml", []byte(strings.NewReplacer("- {vni: 43", "- {vni: 50}\n- {vni: 43", "- {name: tap1", "- {name: tap9, vni: 50}\n- {name: tap1").Replace(baseFile)))
	if err != nil {
		t.Fatal(err)
	}
	failing(sw, errTest, "add port tap9", "del vni 50")
	_, err = c.Reload(file.Model)
	if err = file.Locate(err); !strings.HasPrefix(err.Error(), "test.yaml:10:10: add port tap9: ") || !strings.Contains(err.Error(), rest) {
		t.Errorf("reload: %v", err)
	}
	failing(sw, nil)
	if _, err := c.Reload(file.Model); err != nil {
		t.Errorf("reload once more: %v", err)
	}
}

// TestLostIsMended: what an operation that could not be undone has lost comes back by the same change once more, and goes as if it were there.
func TestLostIsMended(t *testing.T) {
	ns := namespaces(t, "red", "green")
	text := fmt.Sprintf("local: 192.0.2.1\nvnis: [{vni: 42, peers: [192.0.2.2]}]\nports:\n- {name: v0, type: veth, vni: 42, netns: %s}\nstatic:\n- {mac: 02:00:00:00:00:09, vni: 42, port: v0}\n", ns[0])
	moved := fmt.Sprintf(`{"netns":%q}`, ns[1])
	for name, mend := range map[string]func(c *Controller, h http.Handler) error{
		"the same again": func(_ *Controller, h http.Handler) error {
			return answered(h, "PATCH", "/v1/ports/v0", moved)
		},
		"deleted and added": func(c *Controller, h http.Handler) error {
			return errors.Join(answered(h, "DELETE", "/v1/ports/v0", ""), answered(h, "POST", "/v1/ports", fmt.Sprintf(`{"port":"v0","type":"veth","vni":42,"netns":%q}`, ns[1])),
				answered(h, "POST", "/v1/fdb", `{"mac":"02:00:00:00:00:09","vni":42,"port":"v0"}`))
		},
		"deleted, and the file applied": func(c *Controller, h http.Handler) error {
			if err := answered(h, "DELETE", "/v1/ports/v0", ""); err != nil {
				return err
			}
			_, err := c.Apply(parse(t, strings.Replace(text, ns[0], ns[1], 1)), false)
			return err
		},
		"dropped by the file": func(c *Controller, h http.Handler) error {
			const without = "local: 192.0.2.1\nvnis: [{vni: 43}]\n"
			if _, err := c.Reload(parse(t, without)); err != nil {
				return err
			}
			_, err := c.Reload(parse(t, strings.Replace(text, ns[0], ns[1], 1)))
			return err
		},
	} {
		c, sw := start(t, text)
		failing(sw, errTest, "add port v0")
		if w := call(Handler(c), "PATCH", "/v1/ports/v0", moved); w.Code != http.StatusInternalServerError || strings.Contains(sw.State(), "Name:v0") {
			t.Fatalf("the port is there: this test proves nothing: %d %s", w.Code, w.Body)
		}
		failing(sw, nil)
		if err := mend(c, Handler(c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, whole := start(t, strings.Replace(text, ns[0], ns[1], 1))
		if got, want := sw.State(), whole.State(); got != want {
			t.Errorf("%s: the switch has\n%s, want\n%s", name, got, want)
		}
	}
}

// TestLostVNIGoes: a VNI that could not be brought back can be deleted.
func TestLostVNIGoes(t *testing.T) {
	c, sw := start(t, "local: 192.0.2.1\nvnis: [{vni: 42}, {vni: 43}]\nstatic: [{mac: 02:00:00:00:00:09, vni: 42, dst: 192.0.2.2}]\n")
	failing(sw, errTest, "del vni 43", "set vni 42")
	if w := call(Handler(c), "POST", "/v1/batch", `[{"method":"DELETE","path":"/v1/vnis/42"},{"method":"DELETE","path":"/v1/vnis/43"}]`); !strings.Contains(w.Body.String(), "vni del 42 could not be undone") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	failing(sw, nil)
	if err := answered(Handler(c), "DELETE", "/v1/vnis/42", ""); err != nil {
		t.Error(err)
	}
}

// answered is an error unless a request is done.
func answered(h http.Handler, method, path, body string) error {
	if w := call(h, method, path, body); w.Code >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return nil
}
