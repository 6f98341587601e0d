package bench

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// The geometry of the chart, in SVG user units.
const (
	chartWidth   = 920
	chartMargin  = 28
	headHeight   = 84
	panelColumns = 2
	panelGap     = 36 // between columns
	rowGap       = 14 // between rows of panels
	panelHead    = 44
	rowHeight    = 47
	barHeight    = 11
	labelWidth   = 108
	valueWidth   = 46
)

// chartStyle draws with the colours of the reader's theme. The background is the chart's own, so that text stays readable wherever the picture is put.
const chartStyle = `
.page{fill:#ffffff}.text{fill:#1f2328}.quiet{fill:#59636e}.rule{stroke:#d1d9e0}
.own{fill:#0969da}.own.wire{fill:#80b3ef}.own.gro{fill:#4b8fe3}.other{fill:#818b98}.other.wire{fill:#c4cad1}.other.gro{fill:#a3abb5}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text{fill:#f0f6fc}.quiet{fill:#9198a1}.rule{stroke:#3d444d}
.own{fill:#4493f8}.own.wire{fill:#1f4f92}.own.gro{fill:#316cbb}.other{fill:#8b949e}.other.wire{fill:#4a525c}.other.gro{fill:#6b737d}}
text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:13px}
.title{font-size:20px;font-weight:600}.head{font-size:14px;font-weight:600}.small{font-size:12px}
`

// modeClasses end the class of a bar.
var modeClasses = map[Mode]string{Veth: "", Wire: " wire", WireGRO: " gro"}

// svg writes elements. Coordinates are rounded to a tenth.
type svg struct{ strings.Builder }

func (s *svg) text(x, y float64, class, anchor, content string) {
	fmt.Fprintf(s, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">`, class, x, y, anchor)
	_ = xml.EscapeText(s, []byte(content)) // a strings.Builder does not fail
	s.WriteString("</text>\n")
}

func (s *svg) bar(x, y, width, height float64, class string) {
	fmt.Fprintf(s, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"/>\n", class, x, y, math.Max(width, 1), height)
}

// chartMetrics are the figures that get a panel.
var chartMetrics = []Metric{TCP1, TCP4, UDP1, UDP64, Apart50, CPU}

// Chart is the report as an SVG picture: a panel for each figure, in it bars for each system, one for each mode of the underlay.
func (r Report) Chart() string {
	var systems []System
	for _, s := range r.Plan.Systems {
		if !s.Local && r.Results.measured(s.Name) {
			systems = append(systems, s)
		}
	}
	panelHeight := float64(panelHead + rowHeight*len(systems))
	rows := (len(chartMetrics) + panelColumns - 1) / panelColumns
	height := headHeight + rowGap + float64(rows)*(panelHeight+rowGap)
	var s svg
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&s, "<title>vtepd %s beside the kernel and Open vSwitch</title>\n<style>%s</style>\n", xmlText(r.Version), chartStyle)
	fmt.Fprintf(&s, `<rect class="page" width="%d" height="%.0f"/>`+"\n", chartWidth, height)
	s.text(chartMargin, 34, "text title", "start", "VXLAN between two hosts on one machine")
	s.text(chartMargin, 56, "quiet small", "start", fmt.Sprintf("%s · median of %d rounds", r.Machine, r.Plan.Rounds))
	s.legend(chartMargin, 76)
	panelWidth := float64(chartWidth-2*chartMargin-(panelColumns-1)*panelGap) / panelColumns
	for i, m := range chartMetrics {
		x := chartMargin + float64(i%panelColumns)*(panelWidth+panelGap)
		y := headHeight + rowGap + float64(i/panelColumns)*(panelHeight+rowGap)
		r.panel(&s, m, systems, x, y, panelWidth)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func (s *svg) legend(x, y float64) {
	for _, entry := range []struct{ class, label string }{
		{"own", "vtepd"}, {"other", "others"}, {"own wire", ""}, {"other wire", "wire mode: only frames of at most 1500 bytes cross the underlay"},
		{"own gro", ""}, {"other gro", "wire mode, receiver merges (GRO)"},
	} {
		s.bar(x, y-9, 12, 10, entry.class)
		x += 17
		if entry.label != "" {
			s.text(x, y, "quiet small", "start", entry.label)
			x += float64(len(entry.label))*6.6 + 18
		}
	}
}

func (r Report) panel(s *svg, m Metric, systems []System, x, y, width float64) {
	unit := m.Unit() + ", more is better"
	if m.LowerBetter() {
		unit = m.Unit() + ", less is better"
	}
	// Widths of a character: as the legend's, and of a bold one.
	if 8*float64(len(m.Title()))+6.6*float64(len(unit)) > width {
		unit = strings.TrimSuffix(unit, " is better")
	}
	s.text(x, y+14, "text head", "start", m.Title())
	s.text(x+width, y+14, "quiet small", "end", unit)
	fmt.Fprintf(s, "<line class=\"rule\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x, y+23, x+width, y+23)
	largest := 0.0
	for _, sys := range systems {
		for _, mode := range r.Plan.Modes {
			if v := Median(r.Results.Values[Cell{sys.Name, mode, m}]); v > largest {
				largest = v
			}
		}
	}
	for i, sys := range systems {
		top := y + panelHead - 10 + float64(i*rowHeight)
		s.text(x, top+barHeight+5, "text", "start", sys.Short)
		class := "other"
		if sys.Own {
			class = "own"
		}
		for j, mode := range r.Plan.Modes {
			barTop := top + float64(j)*(barHeight+2)
			v := Median(r.Results.Values[Cell{sys.Name, mode, m}])
			length := 0.0
			if v == v {
				length = v / largest * (width - labelWidth - valueWidth)
				s.bar(x+labelWidth, barTop, length, barHeight, class+modeClasses[mode])
			}
			s.text(x+labelWidth+length+6, barTop+barHeight-1, "quiet small", "start", FormatValue(v))
		}
	}
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}
