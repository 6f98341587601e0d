package bench

import (
	"fmt"
	"math"
	"strings"
)

// Target is a figure that vtepd shall reach, as a part of what it is held against.
type Target struct {
	Title     string
	Must, Aim float64 // Aim 0: none beyond Must
	Lower     bool    // less is better
	System    string  // held against its Against; "" with a scale figure
	Metric    Metric
	Mode      Mode
	Scale     string // name of a scale figure, held against its own Against, or taken as it is when that is ""
}

// Targets are all of them, in the order of the table.
var Targets = allTargets()

func allTargets() (all []Target) {
	rate := func(system, title string, mode Mode, m Metric, must, aim float64) {
		all = append(all, Target{Title: title + ", " + m.Title(), System: system, Mode: mode, Metric: m, Must: must, Aim: aim})
	}
	round := func(system, title string, mode Mode, must50, aim50, must99, aim99 float64) {
		for _, kind := range trips {
			what := title + ", round trip, " + kind.title
			all = append(all,
				Target{Title: what + ", p50", System: system, Mode: mode, Metric: kind.p50, Must: must50, Aim: aim50, Lower: true},
				Target{Title: what + ", p99", System: system, Mode: mode, Metric: kind.p99, Must: must99, Aim: aim99, Lower: true})
		}
	}
	scale := func(title, figure string, must, aim float64) {
		all = append(all, Target{Title: title, Scale: figure, Must: must, Aim: aim})
	}
	const user, tap, veth = "user space, TAP ports", "fast path, TAP in the host namespace", "fast path, veth ports"
	rate("vtepd", user, Veth, TCP1, 0.6, 1.0)
	rate("vtepd", user, Veth, TCP4, 0.5, 0.8)
	rate("vtepd", user, Wire, TCP1, 0.6, 1.0)
	for _, mode := range []Mode{Veth, Wire} {
		rate("vtepd", user, mode, UDP1, 2.0, 3.0)
		rate("vtepd", user, mode, UDP64, 1.0, 1.5)
	}
	for _, mode := range []Mode{Veth, Wire} {
		round("vtepd", user, mode, 1.1, 0.9, 1.5, 1.0)
	}
	all = append(all, Target{Title: "user space, TCP between two local TAPs", System: "vtepd-local", Mode: Veth, Metric: LocalTP, Must: 0.8, Aim: 1.0})
	scale("user space, TCP with 1,000,000 forwarding entries, against 10", "macs-tcp", 0.95, 0)
	scale("user space, TCP beside 198 more ports, against 2 ports", "ports-tcp", 0.95, 0)
	all = append(all, Target{Title: "memory at rest with 10 ports, MB", Scale: "rest-rss", Must: 67.1, Lower: true})
	rate("vtepd-fast", tap, Veth, TCP1, 1.05, 1.25)
	rate("vtepd-fast", tap, Veth, TCP4, 1.1, 1.25)
	rate("vtepd-veth-fast", veth, Veth, TCP1, 1.1, 1.5)
	rate("vtepd-veth-fast", veth, Veth, TCP4, 1.1, 1.5)
	for _, of := range []struct{ system, title string }{{"vtepd-fast", tap}, {"vtepd-veth-fast", veth}} {
		rate(of.system, of.title, Wire, TCP1, 0.9, 1.1)
		rate(of.system, of.title, Wire, TCP4, 0.9, 1.1)
	}
	for _, mode := range []Mode{Veth, Wire} {
		rate("vtepd-veth-fast", veth, mode, UDP1, 1.4, 2)
	}
	for _, mode := range []Mode{Veth, Wire} {
		round("vtepd-veth-fast", veth, mode, 0.9, 0.7, 1.0, 0.7)
	}
	scale("fast path, TCP with 1,000,000 entries in the maps, against 10", "maps-tcp", 0.95, 0)
	scale("fast path, small UDP with 1,000,000 entries in the maps, against 10", "maps-udp", 0.95, 0)
	all = append(all, Target{Title: "fast path, kill -9 and restart under load, TCP connections lost", Scale: "restart-lost", Must: 0, Lower: true})
	return all
}

// measured is the figure that the target is about; NaN when the report has none.
func (t Target) measured(r Report) float64 {
	if t.Scale != "" {
		v, against := r.Scale.figure(t.Scale)
		if against == against {
			return v / against
		}
		return v
	}
	return r.ratio(Cell{t.System, t.Mode, t.Metric})
}

// verdict is a word for a measured figure.
func (t Target) verdict(v float64) string {
	met := func(bound float64) bool { return t.Lower && v <= bound || !t.Lower && v >= bound }
	switch {
	case v != v:
		return "not measured"
	case !met(t.Must):
		return "**missed**"
	case t.Aim != 0 && met(t.Aim):
		return "met, and the aim"
	}
	return "met"
}

// targets is the table of all targets of which the run could say anything; a target whose system was to run and did not is among them.
func (r Report) targets() string {
	var rows strings.Builder
	for _, t := range Targets {
		v := t.measured(r)
		if v != v && !r.wanted(t) {
			continue
		}
		sign, underlay := "≥", ""
		if t.Lower {
			sign = "≤"
		}
		if t.System != "" && t.Metric != LocalTP {
			underlay = string(t.Mode)
		}
		aim := ""
		if t.Aim != 0 {
			aim = sign + " " + trim(t.Aim)
		}
		measured := FormatValue(v)
		if v < 10 {
			measured = fmt.Sprintf("%.3f", v) // as many digits as tell it from its bound
		}
		fmt.Fprintf(&rows, "| %s | %s | %s %s | %s | %s | %s |\n", t.Title, underlay, sign, trim(t.Must), aim, measured, t.verdict(v))
	}
	if rows.Len() == 0 {
		return ""
	}
	return "\n**Targets**\n\nRatios to the system that each is held against in the tables below.\n\n" +
		"| | underlay | must | aim | measured | |\n| --- | --- | ---: | ---: | ---: | --- |\n" + rows.String()
}

// wanted says whether the plan had the figure of a target in it.
func (r Report) wanted(t Target) bool {
	if t.Scale != "" {
		test, _, _ := strings.Cut(t.Scale, "-")
		_, failed := r.Scale.Missing[test]
		return failed
	}
	has := func(mode Mode, m Metric) bool {
		for _, planned := range r.Plan.Modes {
			if planned == mode {
				for _, wanted := range r.Plan.Metrics {
					if wanted == m {
						return true
					}
				}
			}
		}
		return false
	}
	for _, s := range r.Plan.Systems {
		if s.Name == t.System {
			return has(t.Mode, t.Metric)
		}
	}
	return false
}

// trim writes a bound as it was set, without zeros behind.
func trim(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", math.Round(v*100)/100), "0"), ".")
}
