package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/config"
)

var applyObject = &object{
	name:  "apply",
	short: "make the running state equal a file, or say what differs",
	self: &verb{
		synopsis: "FILE [dry-run]",
		long: "FILE is a configuration file, - the standard input. What was changed at run time and is not in it goes, unlike on a reload (SIGHUP), which keeps that.\n" +
			"All of it happens or nothing. What differed is printed: + what came, - what went, ~ what changed. Learned entries stay where their places stay.",
		examples: []string{"vtepctl apply /etc/vtepd/vtepd.yaml dry-run", "vtepctl apply /etc/vtepd/vtepd.yaml", "render-config | vtepctl -j apply - dry-run"},
		subject: &subject{name: "FILE", what: "a configuration file, or -", required: true, file: true,
			parse: func(string) error { return nil }},
		words: []word{{name: "dry-run", help: "only say what differs"}},
		run: func(ctx context.Context, app *App, a *args) error {
			in, name := app.open(ctx, a.subject())
			defer in.Close()
			text, err := io.ReadAll(io.LimitReader(in, config.MaxSize+1))
			if err != nil {
				return err
			}
			if len(text) == 0 {
				return fmt.Errorf("%s is empty: it would take everything away, and not even says local", name)
			}
			if err := config.CheckText(name, text); err != nil {
				return err
			}
			found, err := app.client.Apply(ctx, api.ApplySpec{File: name, Text: string(text), DryRun: a.has("dry-run")})
			if err != nil {
				return err
			}
			return list(app, found, func() { app.differences(found) })
		},
	},
}

// differences prints what differed, for people: one line an object.
func (a *App) differences(found []api.Difference) {
	if len(found) == 0 {
		fmt.Fprintln(a.Stdout, "nothing differs")
	}
	for _, d := range found {
		words := []string{map[string]string{"add": "+", "set": "~", "del": "-"}[d.Action]}
		if d.Name != "" {
			words = append(words, d.Object, d.Name)
		}
		for _, v := range d.Values {
			words = append(words, v.Name, change(d.Action, v))
		}
		fmt.Fprintln(a.Stdout, strings.Join(words, " "))
	}
}

// change writes what becomes of a value.
func change(action string, v api.ValueDifference) string {
	orUnset := func(s string) string {
		if s == "" {
			return "unset"
		}
		return s
	}
	switch {
	case action == "add" && len(v.Added) > 0:
		return strings.Join(v.Added, ",")
	case action == "add":
		return v.To
	case len(v.Added)+len(v.Removed) > 0:
		var parts []string
		for _, s := range v.Added {
			parts = append(parts, "+"+s)
		}
		for _, s := range v.Removed {
			parts = append(parts, "-"+s)
		}
		return strings.Join(parts, ",")
	case v.From == v.To:
		return "in another order"
	}
	return orUnset(v.From) + " -> " + orUnset(v.To)
}
