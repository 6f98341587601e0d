package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
vtepd with a TAP port; in brackets the part of what kernel vxlan + bridge + veth gave in the same run.

| date | version | TCP 1, veth | TCP 1, wire | TCP 4, wire | UDP kpps, wire | round trip µs, wire | machine |
| --- | --- | --- | --- | --- | --- | --- | --- |
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

// Ratio of the medians of a system to those of the baseline, NaN when either is missing.
func (r Results) Ratio(c Cell, baseline string) float64 {
	return Median(r.Values[c]) / Median(r.Values[Cell{baseline, c.Mode, c.Metric}])
}

// Markdown is the report as text: a table for each mode, one for the local figure, and what is missing.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s.\n", r.Date.UTC().Format(time.DateOnly), r.Machine)
	fmt.Fprintf(&b, "vtepd %s. Medians of %d rounds, %v a measurement; in brackets the ratio to the kernel's figure.\n", r.Version, r.Plan.Rounds, r.Plan.Time)
	for _, mode := range r.Plan.Modes {
		r.table(&b, "Underlay: "+modeTitles[mode], mode, Baseline, func(s System) bool { return !s.Local }, Metrics[:len(Metrics)-1])
	}
	if len(r.Plan.Modes) > 0 {
		r.table(&b, "Two ports of one host", r.Plan.Modes[0], LocalBaseline, func(s System) bool { return s.Local }, []Metric{LocalTP})
	}
	b.WriteString(r.Scale.markdown())
	if worst := r.worstSpread(); worst != "" {
		fmt.Fprintf(&b, "\nSpread between rounds, largest less smallest over the median, worst system: %s.\n", worst)
	}
	for _, s := range r.Plan.Systems {
		if why, ok := r.Results.Missing[s.Name]; ok {
			fmt.Fprintf(&b, "\n%s: %s.\n", s.Title, strings.TrimSuffix(strings.ReplaceAll(why, "\n", " "), "."))
		}
	}
	return b.String()
}

// table writes one table, or nothing when no system of it has a value.
func (r Report) table(b *strings.Builder, title string, mode Mode, baseline string, want func(System) bool, metrics []Metric) {
	metrics = slices.DeleteFunc(slices.Clone(metrics), func(m Metric) bool { return !slices.Contains(r.Plan.Metrics, m) })
	var rows []string
	for _, s := range r.Plan.Systems {
		row, values := "| "+s.Title+" |", 0
		for _, m := range metrics {
			cell := Cell{s.Name, mode, m}
			row += " " + r.cellText(cell, baseline) + " |"
			values += len(r.Results.Values[cell])
		}
		if want(s) && values > 0 {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n**%s**\n\n| |", title)
	for _, m := range metrics {
		fmt.Fprintf(b, " %s, %s |", m.Title(), m.Unit())
	}
	fmt.Fprintf(b, "\n| --- |%s\n%s\n", strings.Repeat(" ---: |", len(metrics)), strings.Join(rows, "\n"))
}

func (r Report) cellText(c Cell, baseline string) string {
	text := FormatValue(Median(r.Results.Values[c]))
	if ratio := r.Results.Ratio(c, baseline); c.System != baseline && ratio == ratio {
		text += fmt.Sprintf(" (%.2f)", ratio)
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
	cell := func(m Metric, mode Mode) string { return r.cellText(Cell{"vtepd", mode, m}, Baseline) }
	if len(r.Results.Values[Cell{"vtepd", Wire, TCP1}]) == 0 {
		return ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |", r.Date.UTC().Format(time.DateOnly), r.Version,
		cell(TCP1, Veth), cell(TCP1, Wire), cell(TCP4, Wire), cell(UDP1, Wire), cell(RTT50, Wire), r.Machine)
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
	return errors.Join(os.WriteFile(path, page, 0o644), os.WriteFile(filepath.Join(dir, "benchmarks.svg"), []byte(r.Chart()), 0o644))
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
