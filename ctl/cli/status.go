package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vtepd/ctl/api"
)

var statusObject = &object{
	name:  "status",
	short: "the switch as a whole",
	verbs: []*verb{{
		name:     "show",
		short:    "show version, underlay, offload and totals",
		examples: []string{"vtepctl status", "vtepctl -jp status"},
		run: func(ctx context.Context, app *App, _ *args) error {
			s, err := app.client.Status(ctx)
			if err != nil {
				return err
			}
			if app.json {
				return app.printJSON(s)
			}
			app.statusPage(s)
			return nil
		},
	}},
}

// stormRows is how many storms the page lists without details.
const stormRows = 8

func (a *App) statusPage(s api.Status) {
	t := table{}
	t.row("vtepd", fmt.Sprintf("%s, pid %d, up %s", s.Version, s.PID, span(s.Uptime)))
	t.row("underlay", underlayText(s))
	t.row("workers", fmt.Sprintf("%d, receive buffer %s each", s.Workers, size(s.ReceiveBuffer)))
	t.row("holds", fmt.Sprintf("%s, %s, %s", plural(s.Ports, "port"), plural(s.VNIs, "VNI"), plural(s.Peers, "peer")))
	t.row("fdb", fmt.Sprintf("%d dynamic of %d, %d static", s.FDB.Dynamic, s.FDB.Max, s.FDB.Static))
	t.row("", fmt.Sprintf("%d learned, %d moved, %d expired, %d evicted, %d refused", s.FDB.Learned, s.FDB.Moved, s.FDB.Expired, s.FDB.Evicted, s.FDB.Refused))
	t.row("frames", fmt.Sprintf("%d received, %d forwarded, %d dropped", s.Frames.Received, s.Frames.Forwarded, s.Frames.Dropped))
	if s.TooBigAnswered > 0 {
		t.row("", fmt.Sprintf("%d answered with ICMP because they were too big, %d more were not", s.TooBigAnswered, s.TooBigSilenced))
	}
	if s.MSSClamped > 0 {
		t.row("", fmt.Sprintf("%d opened a TCP connection with too large an MSS, which was lowered", s.MSSClamped))
	}
	for i, st := range s.Storms {
		if i == stormRows && !a.details {
			t.row("", fmt.Sprintf("and %s more: see -d", plural(len(s.Storms)-i, "storm")))
			break
		}
		from := "port " + st.Port
		if st.Port == "" {
			from = "peer " + st.Peer
			if st.DPort != s.DstPort {
				from += fmt.Sprintf(" dport %d", st.DPort)
			}
		}
		t.row("", fmt.Sprintf("storm from %s in VNI %d for %s: %s over %s, %d dropped", from, st.VNI, span(st.Age), st.Kind, st.Rate, st.Dropped))
	}
	if s.PortKernelDrops > 0 {
		t.row("", fmt.Sprintf("%d frames from ports dropped by the kernel because a queue was full", s.PortKernelDrops))
	}
	if s.KernelDrops > 0 {
		t.row("", fmt.Sprintf("%d messages of up to 64 datagrams dropped by the kernel because a receive buffer was full", s.KernelDrops))
	}
	fastPathRows(&t, &s.FastPath, a.details)
	cpuLatencyRow(&t, &s.CPULatency, a.details)
	label := "offload"
	width := 0
	for _, o := range s.Offload {
		width = max(width, len(o.Name))
	}
	for _, o := range s.Offload {
		state := "off" + reason(o.Reason)
		if o.On {
			state = "on"
		}
		t.row(label, fmt.Sprintf("%-*s  %s", width, o.Name, state))
		label = ""
	}
	t.print(a.Stdout)
}

func underlayText(s api.Status) string {
	ports := names(s.Listen, func(p uint16) string { return fmt.Sprint(p) })
	text := fmt.Sprintf("%s port %s", strings.Join(s.Locals, " and "), strings.Join(ports, " and "))
	of := ""
	if s.VRF != "" {
		of = " of the VRF " + s.VRF
	}
	switch {
	case s.UnderlayInterface != "":
		text += fmt.Sprintf(", on %s%s, MTU %d", s.UnderlayInterface, of, s.UnderlayMTU)
		for _, a := range s.LocalsAway {
			text += fmt.Sprintf("; %s is on no interface%s now", a, of)
		}
		for _, a := range s.LocalsDown {
			text += fmt.Sprintf("; the interface of %s is down", a)
		}
	case len(s.LocalsAway) == 0: // it could not be found out
	case len(s.Locals) > 1:
		text += fmt.Sprintf(", which are on no interface%s now", of)
	default:
		text += fmt.Sprintf(", which is on no interface%s now", of)
	}
	return text
}

func fastPathRows(t *table, f *api.FastPath, details bool) {
	if !f.Active {
		t.row("fast path", f.Mode+reason(f.Reason))
		return
	}
	t.row("fast path", fmt.Sprintf("%s, carried %d frames to peers, %d from peers, %d between ports", f.Mode, f.Encap, f.Decap, f.Local))
	if len(f.Punted) > 0 && details {
		var words []string
		for _, reason := range slices.Sorted(maps.Keys(f.Punted)) {
			words = append(words, fmt.Sprintf("%s %d", reason, f.Punted[reason]))
		}
		t.row("", "left to user space: "+strings.Join(words, ", "))
	}
	if details {
		t.row("", fmt.Sprintf("of new sources: %d learned from, %d when it was too late to", f.Heard, f.Outdated))
	}
	var ports, rest []string
	for _, a := range f.Attachments {
		switch {
		case a.Port != "":
			ports = append(ports, a.Interface)
		case a.Kind == "":
			rest = append(rest, fmt.Sprintf("not on %s%s", a.Interface, reason(a.Reason)))
		default:
			rest = append(rest, fmt.Sprintf("%s on %s%s", a.Kind, a.Interface, reason(a.Reason)))
		}
	}
	if len(ports) > 0 {
		t.row("", fmt.Sprintf("on %s", plural(len(ports), "port")))
	}
	for _, r := range rest {
		t.row("", r)
	}
	if f.Pins != "" {
		t.row("", "outlives vtepd, pinned in "+f.Pins)
	} else if f.PinsReason != "" {
		t.row("", "goes with vtepd"+reason(f.PinsReason))
	}
	if f.NoFlowCache != "" {
		t.row("", "no flow cache"+reason(f.NoFlowCache))
	}
}

// cpuLatencyRow appears while something is done, and on request.
func cpuLatencyRow(t *table, l *api.CPULatency, details bool) {
	switch {
	case l.Held && l.Polls:
		t.row("CPUs", "do not sleep: there are requests and responses")
	case l.Held:
		t.row("CPUs", fmt.Sprintf("wake up within %g us: there are requests and responses", l.BoundUS))
	case details:
		t.row("CPUs", "sleep as they like"+reason(l.Reason))
	}
}

func reason(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// size is a number of bytes as people read it.
func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
