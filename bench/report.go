package bench

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var errMarkers = errors.New("markers")

// Where Write puts its figures inside a page: everything between the two lines of a pair is the program's, the rest the writer's.
const (
	resultsBegin, resultsEnd = "<!-- bench results: written by make bench -->", "<!-- bench results end -->"
	historyBegin, historyEnd = "<!-- bench history: one line a run -->", "<!-- bench history end -->"
)

// newPage is the page that Write starts with when there is none.
const newPage = `# Benchmarks

` + "`make bench`" + ` measures vtepd beside the kernel's vxlan device and Open vSwitch and rewrites this page.

## Results

` + resultsBegin + "\n" + resultsEnd + `

## History

` + historyBegin + "\n" + historyHead + historyEnd + "\n"

const historyHead = `
vtepd with a TAP port in user space; in brackets the part of what kernel vxlan + bridge + veth gave in the same run. Behind it the fast path: veth ports held against the same,
a TAP in the host namespace against the kernel's vxlan device.

| date | version | TCP 1, veth | TCP 1, wire | TCP 4, wire | UDP kpps, wire | round trip µs, wire | fast path, veth ports, TCP 1, veth | fast path, TAP, TCP 1, veth | machine |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// Report is one run and what it ran on.
type Report struct {
	Plan    Plan
	Results Results
	Scale   ScaleResults
	Machine Machine
	Version string
	Date    time.Time
}

// ratio of the medians of a system to those of the one it is held against, NaN when either is missing.
func (r Report) ratio(c Cell) float64 {
	i := slices.IndexFunc(r.Plan.Systems, func(s System) bool { return s.Name == c.System })
	if i < 0 {
		return math.NaN()
	}
	return Median(r.Results.Values[c]) / Median(r.Results.Values[Cell{r.Plan.Systems[i].Against, c.Mode, c.Metric}])
}

// Markdown is the report as text: the targets, three tables for each mode, one for the local figure, and what is missing.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s.\n", r.Date.UTC().Format(time.DateOnly), r.Machine)
	t := r.Plan.Times
	fmt.Fprintf(&b, "vtepd %s. Medians over rounds: %d; a TCP stream runs for %v, with %s as its congestion control, a UDP load for %v, round trips and short connections of a kind for %v. In brackets the ratio to the system that it is held against.\n",
		r.Version, r.Plan.Rounds, t.TCP, r.congestion(), t.UDP, t.Trips)
	b.WriteString("During round trips and short connections vtepd asks for CPUs that are quick to wake up ([performance.md](performance.md#requests-and-responses)); for the other systems nobody does.\n")
	if slices.ContainsFunc(shortMetrics, func(m Metric) bool { return slices.Contains(r.Plan.Metrics, m) }) {
		b.WriteString("A short connection is opened, carries one request and one answer of 64 bytes, and is closed by who asked, then by the other end; it counts when that has been heard of.\n")
	}
	for _, s := range r.Plan.Systems {
		if s.Note != "" && r.Results.measured(s.Name) {
			b.WriteString(s.Note + "\n")
		}
	}
	b.WriteString(r.missing())
	b.WriteString(r.targets())
	for _, mode := range r.Plan.Modes {
		title := "Underlay: " + modeTitles[mode]
		r.table(&b, title, mode, false, columnsOf(rateMetrics...))
		var columns []column
		for _, kind := range trips {
			columns = append(columns, column{kind.title, []Metric{kind.p50, kind.p99}})
		}
		r.table(&b, title+". Round trips of 64 bytes, p50 / p99, µs", mode, false, columns)
		r.table(&b, title+". Short TCP connections a second", mode, false, []column{{"one after another", []Metric{CRR}}, {"16 at once", []Metric{CRRs}}})
	}
	if len(r.Plan.Modes) > 0 {
		r.table(&b, "Two ports of one host", r.Plan.Modes[0], true, columnsOf(LocalTP))
	}
	b.WriteString(r.Scale.markdown())
	if worst := r.worstSpread(); worst != "" {
		fmt.Fprintf(&b, "\nSpread between rounds, largest less smallest over the median, worst system: %s.\n", worst)
	}
	return b.String()
}

// congestion names the congestion control of the workloads.
func (r Report) congestion() string {
	return cmp.Or(r.Plan.Congestion, r.Machine.Congestion, "an unknown algorithm")
}

// missing says which systems have no figures, or not all, and why.
func (r Report) missing() string {
	text := ""
	for _, s := range r.Plan.Systems {
		if why, ok := r.Results.Missing[s.Name]; ok {
			text += fmt.Sprintf("\n%s: %s.\n", s.Title, strings.TrimSuffix(strings.ReplaceAll(why, "\n", " "), "."))
		}
	}
	return text
}

// column is one of a table: one figure, or several behind one another.
type column struct {
	title   string
	metrics []Metric
}

func columnsOf(metrics ...Metric) (columns []column) {
	for _, m := range metrics {
		columns = append(columns, column{m.Title() + ", " + m.Unit(), []Metric{m}})
	}
	return columns
}

// table writes one table, or nothing when no system of it has a value.
func (r Report) table(b *strings.Builder, title string, mode Mode, local bool, columns []column) {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(c.metrics, func(m Metric) bool { return slices.Contains(r.Plan.Metrics, m) })
	})
	titles := map[string]string{}
	for _, s := range r.Plan.Systems {
		titles[s.Name] = s.Title
	}
	var rows []string
	for _, s := range r.Plan.Systems {
		row, values := "| "+s.Title+" | "+titles[s.Against]+" |", 0
		for _, c := range columns {
			row += " " + r.cellText(s, mode, c.metrics) + " |"
			for _, m := range c.metrics {
				values += len(r.Results.Values[Cell{s.Name, mode, m}])
			}
		}
		if s.Local == local && values > 0 {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n**%s**\n\n| | held against |", title)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	fmt.Fprintf(b, "\n| --- | --- |%s\n%s\n", strings.Repeat(" ---: |", len(columns)), strings.Join(rows, "\n"))
}

// cellText is the medians of a system, and in brackets their ratios.
func (r Report) cellText(s System, mode Mode, metrics []Metric) string {
	var values, ratios []string
	for _, m := range metrics {
		cell := Cell{s.Name, mode, m}
		values = append(values, FormatValue(Median(r.Results.Values[cell])))
		if ratio := r.ratio(cell); ratio == ratio {
			ratios = append(ratios, fmt.Sprintf("%.2f", ratio))
		}
	}
	text := strings.Join(values, " / ")
	if len(ratios) > 0 {
		text += " (" + strings.Join(ratios, " / ") + ")"
	}
	return text
}

// worstSpread says, figure by figure, how far the rounds lay apart; empty after a single round.
func (r Report) worstSpread() string {
	if r.Plan.Rounds < 2 {
		return ""
	}
	var parts []string
	for _, m := range r.Plan.Metrics {
		worst := 0.0
		for c, values := range r.Results.Values {
			if c.Metric == m && len(values) > 1 {
				worst = max(worst, Spread(values))
			}
		}
		if worst > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", m.Title(), 100*worst))
		}
	}
	return strings.Join(parts, ", ")
}

// historyLine is the run in one line of the history table; empty when vtepd was not measured.
func (r Report) historyLine() string {
	if len(r.Results.Values[Cell{"vtepd", Wire, TCP1}]) == 0 {
		return ""
	}
	cell := func(system string, mode Mode, m Metric) string {
		i := slices.IndexFunc(r.Plan.Systems, func(s System) bool { return s.Name == system })
		if i < 0 {
			return FormatValue(math.NaN())
		}
		return r.cellText(r.Plan.Systems[i], mode, []Metric{m})
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |", r.Date.UTC().Format(time.DateOnly), r.Version,
		cell("vtepd", Veth, TCP1), cell("vtepd", Wire, TCP1), cell("vtepd", Wire, TCP4), cell("vtepd", Wire, UDP1), cell("vtepd", Wire, RTT50),
		cell("vtepd-veth-fast", Veth, TCP1), cell("vtepd-fast", Veth, TCP1), r.Machine)
}

// Write puts the report into benchmarks.md, between its markers, and the chart into benchmarks.svg, both in dir.
func (r Report) Write(dir string) error {
	path := filepath.Join(dir, "benchmarks.md")
	page, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		page, err = []byte(newPage), os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	results := "\n![Chart of the results below](benchmarks.svg)\n\n" + r.Markdown() + "\n"
	if page, err = between(page, resultsBegin, resultsEnd, func([]byte) []byte { return []byte(results) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if line := r.historyLine(); line != "" {
		page, err = between(page, historyBegin, historyEnd, func(old []byte) []byte { return append(old, line+"\n"...) })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := replaceFile(filepath.Join(dir, "benchmarks.svg"), []byte(r.Chart())); err != nil {
		return err
	}
	return replaceFile(path, page)
}

// between replaces what stands between two marker lines.
func between(page []byte, begin, end string, replace func(old []byte) []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(page, []byte(begin+"\n"))
	if !found {
		return nil, fmt.Errorf("%w: no line %q", errMarkers, begin)
	}
	old, after, found := bytes.Cut(rest, []byte(end))
	if !found {
		return nil, fmt.Errorf("%w: no line %q", errMarkers, end)
	}
	return slices.Concat(before, []byte(begin+"\n"), replace(slices.Clone(old)), []byte(end), after), nil
}
