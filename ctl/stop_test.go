package ctl

import (
	"context"
	"errors"
	"strings"
	"testing"

	"vtepd/ctl/ctltest"
	"vtepd/ctl/model"
)

// TestStopDuringChange: once vtepd is to end, no operation is begun any more, be it at the start, in a reload or in a batch, and none is undone: the switch
// takes all away when it is closed.
func TestStopDuringChange(t *testing.T) {
	for name, change := range map[string]func(c *Controller, m *model.Model) error{
		"start": func(*Controller, *model.Model) error { return nil },
		"reload": func(c *Controller, m *model.Model) error {
			_, err := c.Reload(m)
			return err
		},
		"apply": func(c *Controller, m *model.Model) error {
			_, err := c.Apply(m, false)
			return err
		},
		"batch": func(c *Controller, m *model.Model) error {
			return c.batch(1, func(_ int, ed editor) error {
				return ed.Change(func(next *model.Model) error {
					*next = *m.Clone()
					return nil
				})
			})
		},
	} {
		for _, refuse := range []bool{false, true} {
			first := parse(t, "local: 192.0.2.1\n")
			if name == "start" {
				first = parse(t, baseFile)
			}
			life, stop := context.WithCancel(context.Background())
			defer stop()
			sw := ctltest.New(first.SwitchConfig())
			sw.Fail(func(op string) error {
				if op != "add port tap1" {
					return nil
				}
				stop()
				if refuse {
					return errTest
				}
				return nil
			})
			c, err := New(life, sw, first, nil)
			if err == nil {
				err = change(c, parse(t, baseFile))
			}
			want, last := ErrStopping, "add port tap1"
			if refuse {
				want, last = errTest, "add port tap0"
			}
			ops := sw.Ops()
			if !errors.Is(err, want) || len(ops) == 0 || ops[len(ops)-1] != last {
				t.Errorf("%s: %v after %s", name, err, strings.Join(ops, ", "))
			}
			if c == nil {
				continue
			}
			if _, err := c.Reload(parse(t, baseFile)); !errors.Is(err, ErrStopping) {
				t.Errorf("%s, and a reload after it: %v", name, err)
			}
		}
	}
}
