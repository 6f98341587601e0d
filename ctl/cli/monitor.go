package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"vtepd/ctl/api"
)

var monitorObject = &object{
	name:  "monitor",
	short: "changes as they happen",
	self: &verb{
		endless:  true,
		synopsis: "[all] [fdb] [port] [peer] [vni] [underlay]",
		short:    "print one line for each change, until interrupted",
		long: "Without words, changes of every kind are shown. With -j each line is one JSON object.\n" +
			"A reader that is too slow is told how many changes it lost.",
		examples: []string{"vtepctl monitor", "vtepctl monitor fdb port", "vtepctl -j monitor fdb | jq ."},
		subject: &subject{
			name: "OBJECT", what: "fdb, port, peer, vni, underlay or all", many: true,
			parse:    func(s string) error { _, err := monitorWord(s); return err },
			complete: func(context.Context, *App) []string { return append([]string{"all"}, api.EventObjects...) },
		},
		run: func(ctx context.Context, app *App, a *args) error {
			var objects []string
			for _, s := range a.subjects {
				o, _ := monitorWord(s)
				if o == "all" {
					objects = nil
					break
				}
				objects = append(objects, o)
			}
			line := jsonLine
			if !app.json {
				st, err := app.client.Status(ctx)
				if err != nil {
					return err
				}
				line = func(e api.Event) (string, error) { return eventLine(e, st.DstPort), nil }
			}
			err := app.client.Events(ctx, objects, func(e api.Event) error {
				text, err := line(e)
				if err == nil {
					_, err = fmt.Fprintln(app.Stdout, text)
				}
				return err
			})
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("vtepd at %s has stopped", app.socket)
			}
			return err
		},
	},
}

// monitorWord reads an object to watch, which may be abbreviated as an object may.
func monitorWord(s string) (string, error) {
	words := append([]string{"all"}, api.EventObjects...)
	i, err := match(s, "something to monitor", words)
	if err != nil {
		return "", err
	}
	return words[i], nil
}

func jsonLine(e api.Event) (string, error) {
	b, err := json.Marshal(e)
	return string(b), err
}

// eventLine is an event for people; dstport is the UDP port of a peer that goes without saying.
func eventLine(e api.Event, dstport uint16) string {
	words := []string{e.Time.Local().Format("15:04:05.000")}
	if e.Action == "lost" {
		return fmt.Sprintf("%s lost %d changes: this reader is too slow", words[0], e.Count)
	}
	words = append(words, e.Object, e.Action)
	add := func(word, value string) {
		if value != "" && value != "0" {
			words = append(words, strings.TrimSpace(word+" "+value))
		}
	}
	add("", e.MAC)
	if e.Object == "port" {
		add("", e.Port)
	}
	add("", e.Peer)
	add("", e.Local)
	if e.Peer != "" && e.DPort != dstport {
		add("dport", fmt.Sprint(e.DPort))
	}
	if e.Object == "vni" {
		add("", fmt.Sprint(e.VNI))
	} else {
		add("vni", fmt.Sprint(e.VNI))
	}
	add("dst", e.Dst)
	if e.Dst != "" && e.DPort != dstport {
		add("dport", fmt.Sprint(e.DPort))
	}
	if e.Object != "port" {
		add("port", e.Port)
	}
	add("", e.State)
	add("from", e.From)
	switch {
	case e.Object == "fdb" && e.Count > 0:
		words = append(words, plural(int(e.Count), "entry"))
	case e.Action == "calm":
		words = append(words, fmt.Sprintf("%d dropped", e.Count))
	case e.Count > 1:
		words = append(words, fmt.Sprintf("%d times", e.Count))
	}
	if e.Reason != "" {
		words = append(words, "("+e.Reason+")")
	}
	return strings.Join(words, " ")
}
