package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

// doctorsAtOnce bounds the paths that are probed at the same time.
const doctorsAtOnce = 8

// errUnhealthy ends a doctor's command that found something wrong: what it is has been printed.
var errUnhealthy = errors.New("something is wrong: see above")

var doctorObject = &object{
	name:  "doctor",
	short: "look for what is wrong with paths",
	long:  "Paths are probed with a few dozen packets each; nothing is changed. The exit code is 1 when something is wrong.",
	verbs: []*verb{{
		name:     "mtu",
		synopsis: "[peer IP]",
		short:    "probe what the paths to peers carry, and compare with what is configured",
		long: "Datagrams of growing size with DF are sent through the VXLAN port, which another vtepd answers; where none does, ICMP echo requests. What\n" +
			"is printed says which of the two it goes by. It takes a second, and up to a quarter of a minute on a path that loses packets.",
		examples: []string{"vtepctl doctor mtu", "vtepctl doctor mtu peer 192.0.2.2", "vtepctl -j doctor mtu"},
		words:    []word{{name: "peer", values: "IP", help: "only this peer", parse: valid(model.ParsePeer), complete: knownPeers}},
		run: func(ctx context.Context, app *App, a *args) error {
			peers := []string{a.get("peer")}
			if !a.has("peer") {
				known, err := app.client.Peers(ctx, "", 0, false)
				if err != nil {
					return err
				}
				peers = nil
				seen := map[string]bool{}
				for _, p := range known {
					if !seen[p.Peer] {
						peers = append(peers, p.Peer)
					}
					seen[p.Peer] = true
				}
			}
			found, err := app.diagnoseAll(ctx, peers, a.has("peer"))
			if err != nil {
				return err
			}
			ill := false
			for _, d := range found {
				ill = ill || !d.OK
			}
			if err := list(app, found, func() { app.diagnoses(found) }); err != nil {
				return err
			}
			if ill {
				return errUnhealthy
			}
			return nil
		},
	}},
}

// diagnoseAll probes some paths at a time, and keeps the order. A peer that has gone meanwhile is no error, unless it was asked for by name.
func (a *App) diagnoseAll(ctx context.Context, peers []string, named bool) ([]api.PathDiagnosis, error) {
	found := make([]api.PathDiagnosis, len(peers))
	errs := make([]error, len(peers))
	var group sync.WaitGroup
	room := make(chan struct{}, doctorsAtOnce)
	for i, p := range peers {
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			found[i], errs[i] = a.client.DoctorMTU(ctx, api.DoctorSpec{Peer: p})
		})
	}
	group.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 && ctx.Err() != nil {
		return nil, errs[i] // the others say the same
	}
	var there []api.PathDiagnosis
	for i := range found {
		var refused *api.Error
		if !named && errors.As(errs[i], &refused) && refused.Status == http.StatusNotFound {
			errs[i] = nil
			continue
		}
		there = append(there, found[i])
	}
	return there, errors.Join(errs...)
}

// diagnoses prints what was found, for people.
func (a *App) diagnoses(found []api.PathDiagnosis) {
	evidence := map[string]string{"probe": "by probes that the other vtepd answered", "icmp-echo": "by ICMP echo", "none": "nothing answered"}
	for _, d := range found {
		state := "ok"
		if !d.OK {
			state = "WRONG"
		}
		fits := "nothing arrives"
		if d.Fits > 0 {
			fits = fmt.Sprintf("%d bytes fit, %d inside", d.Fits, d.Inside)
		}
		fmt.Fprintf(a.Stdout, "%s  %s: %s (%s)\n", d.Peer, state, fits, evidence[d.Evidence])
		for _, s := range d.Findings {
			fmt.Fprintf(a.Stdout, "    found  %s\n", s)
		}
		for _, s := range d.Advice {
			fmt.Fprintf(a.Stdout, "    do     %s\n", s)
		}
	}
}
