package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"vtepd/bench/lab"
)

// ScaleFigure is one figure of a vtepd that has much of something.
type ScaleFigure struct {
	Name, Title, Unit string
	Against           string // the name of the figure it is held against, "" for none; it comes from the same lab, a moment before
	Hidden            bool   // only there to be held against
	Worst             bool   // the largest of all rounds counts, not their median
}

// The sizes that the titles below name.
const (
	scaleFewMACs, scaleManyMACs = 10, 1_000_000
	scalePorts                  = 200
	scalePeers                  = 1000
	scaleRestPorts              = 10
	// scaleRuns is how often a round measures what is held against another figure: the ratios are near 1, and single streams differ by a tenth.
	scaleRuns = 4
	// scaleBroadcasts is the load beside the unicast stream, in frames a second, each copied to every peer.
	scaleBroadcasts = 100
)

// ScaleFigures are all such figures in the order of the table.
var ScaleFigures = []ScaleFigure{
	{Name: "macs-few", Unit: "Gb/s", Hidden: true},
	{Name: "macs-tcp", Title: "TCP, 1 stream, wire mode, with 1,000,000 forwarding entries on each host; against 10", Unit: "Gb/s", Against: "macs-few"},
	{Name: "macs-load", Title: "learning 1,000,000 MACs from the wire", Unit: "s"},
	{Name: "macs-api", Title: "making forwarding entries over the control API, 4 connections", Unit: "entries/s"},
	{Name: "macs-rss", Title: "resident memory with 1,000,000 entries", Unit: "MB"},
	{Name: "ports-two", Unit: "Gb/s", Hidden: true},
	{Name: "ports-tcp", Title: "TCP, 1 stream, between two of 200 TAP ports; against two ports beside 198 idle TAPs", Unit: "Gb/s", Against: "ports-two"},
	{Name: "peers-copies", Title: "broadcast to 1,000 peers (250 addresses, 4 UDP ports each), copies", Unit: "thousand/s"},
	{Name: "peers-cost", Title: "processor time of vtepd for each copy, with what the kernel does up to the receiving socket", Unit: "ns"},
	{Name: "peers-alone", Unit: "Gb/s", Hidden: true},
	{Name: "peers-tcp", Title: "TCP, 1 stream, wire mode, beside 100 broadcasts a second to 1,000 peers; against none", Unit: "Gb/s", Against: "peers-alone"},
	{Name: "maps-few", Unit: "Gb/s", Hidden: true},
	{Name: "maps-tcp", Title: "fast path, veth ports, TCP, 1 stream, wire mode, with 1,000,000 entries in the maps of each host; against 10", Unit: "Gb/s", Against: "maps-few"},
	{Name: "maps-udpfew", Unit: "kpps", Hidden: true},
	{Name: "maps-udp", Title: "the same, UDP, 64 bytes, 1 flow", Unit: "kpps", Against: "maps-udpfew"},
	{Name: "maps-load", Title: "learning 1,000,000 MACs from the wire, until the maps have them", Unit: "s"},
	{Name: "restart-lost", Title: "fast path, veth ports, kill -9 and restart beside 4 TCP connections of 500 Mb/s: connections lost, worst round", Unit: "of 4", Worst: true},
	{Name: "restart-quiet", Unit: "ms", Hidden: true},
	{Name: "restart-gap", Title: "the same, longest gap between datagrams sent every 100 µs beside them; against a time without a restart", Unit: "ms", Against: "restart-quiet"},
	{Name: "restart-away", Title: "the same, time without a vtepd", Unit: "ms"},
	{Name: "rest-rss", Title: "resident memory at rest, 10 TAP ports", Unit: "MB"},
}

// ScaleTest makes some of the figures, in a lab of its own.
type ScaleTest struct {
	Name string // the first word of its figures
	run  func(p Programs, l *lab.Lab, d time.Duration, record func(figure string, v float64)) error
}

// ScaleTests are all of them.
var ScaleTests = []ScaleTest{{"macs", Programs.manyMACs}, {"ports", Programs.manyPorts}, {"peers", Programs.manyPeers}, {"maps", Programs.manyEntries},
	{"restart", Programs.restart}, {"rest", Programs.atRest}}

// ScaleResults are all values, one a round, by the name of the figure, and why the figures of a test are missing.
type ScaleResults struct {
	Values  map[string][]float64
	Missing map[string]string // by the name of the test
}

// ScalePlan says what to run.
type ScalePlan struct {
	Programs Programs
	Tests    []ScaleTest
	Rounds   int
	Time     time.Duration // of one measurement
	Log      io.Writer     // a line for each measurement
}

// Run goes round by round through the tests. It ends early, with what it has, when ctx ends.
func (p ScalePlan) Run(ctx context.Context) ScaleResults {
	r := ScaleResults{map[string][]float64{}, map[string]string{}}
	for round := 1; round <= p.Rounds; round++ {
		for _, test := range p.Tests {
			if ctx.Err() != nil {
				return r
			}
			if r.Missing[test.Name] != "" {
				continue // the next round would say the same
			}
			err := lab.Run(func(l *lab.Lab) error {
				return test.run(p.Programs, l, p.Time, func(figure string, v float64) {
					r.Values[figure] = append(r.Values[figure], v)
					fmt.Fprintf(p.Log, "round %d  scale    %-14s %s %s\n", round, figure, FormatValue(v), unitOf(figure))
				})
			})
			if err != nil {
				r.Missing[test.Name] = fmt.Sprintf("round %d: %v", round, err)
				fmt.Fprintf(p.Log, "round %d  scale    %-14s FAILED: %v\n", round, test.Name, err)
			}
		}
	}
	return r
}

func unitOf(figure string) string {
	i := slices.IndexFunc(ScaleFigures, func(f ScaleFigure) bool { return f.Name == figure })
	return ScaleFigures[i].Unit
}

// figure is what counts of a figure, and of the one it is held against; NaN where there is none.
func (r ScaleResults) figure(name string) (v, against float64) {
	i := slices.IndexFunc(ScaleFigures, func(f ScaleFigure) bool { return f.Name == name })
	f := ScaleFigures[i]
	if v = Median(r.Values[name]); f.Worst && v == v {
		v = slices.Max(r.Values[name])
	}
	return v, Median(r.Values[f.Against])
}

// markdown is the table of the figures that have a value; empty when none has.
func (r ScaleResults) markdown() string {
	var rows strings.Builder
	for _, f := range ScaleFigures {
		v, base := r.figure(f.Name)
		if f.Hidden || v != v {
			continue
		}
		against, ratio := "", ""
		if base == base {
			against, ratio = FormatValue(base), fmt.Sprintf("%.2f", v/base)
		}
		fmt.Fprintf(&rows, "| %s, %s | %s | %s | %s |\n", f.Title, f.Unit, FormatValue(v), against, ratio)
	}
	text := ""
	if rows.Len() > 0 {
		text = fmt.Sprintf("\n**vtepd at scale**\n\nTCP and UDP are measured %d times in each round.\n\n", scaleRuns) + "| | figure | against | ratio |\n| --- | ---: | ---: | ---: |\n" + rows.String()
	}
	for _, test := range ScaleTests {
		if why, ok := r.Missing[test.Name]; ok {
			text += fmt.Sprintf("\nScale, %s: %s.\n", test.Name, strings.TrimSuffix(strings.ReplaceAll(why, "\n", " "), "."))
		}
	}
	return text
}
