package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testReport has three systems, two of them measured.
func testReport() Report {
	value := func(system string, mode Mode, m Metric) Cell { return Cell{system, mode, m} }
	return Report{
		Plan: Plan{
			Systems: []System{{Name: "vtepd", Title: "vtepd, TAP", Short: "vtepd", Own: true, Against: Baseline}, {Name: "vtepd-fast", Title: "vtepd, fast", Own: true, Against: HostBaseline}, {Name: Baseline, Title: "kernel", Short: "kernel"}, {Name: "ovs", Title: "Open vSwitch"}},
			Modes:   Modes, Metrics: []Metric{TCP1, RTT50, RTT99, CRR, CRRs}, Rounds: 3, Times: TimesFor(8 * time.Second),
		},
		Machine: Machine{CPU: "Z80 <fast>", Cores: 2, Kernel: "6.18", Go: "go1.26", Congestion: "reno"},
		Version: "v1", Date: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Results: Results{
			Values: map[Cell][]float64{
				value("vtepd", Veth, TCP1): {10, 11, 12}, value(Baseline, Veth, TCP1): {8, 8.8, 9},
				value("vtepd", WireGRO, TCP1): {5.5}, value("vtepd", Wire, TCP1): {2, 3, 4}, value(Baseline, Wire, TCP1): {4, 4, 4},
				value(Baseline, Wire, RTT50): {25, 26, 27}, value(Baseline, Wire, RTT99): {104},
				value("vtepd", Wire, RTT50): {52}, value("vtepd", Wire, RTT99): {52},
				value("vtepd", Wire, CRR): {3000, 3300, 3100}, value(Baseline, Wire, CRR): {6200}, value("vtepd", Wire, CRRs): {6000}, value(Baseline, Wire, CRRs): {12000},
			},
			Missing: map[string]string{"ovs": "not installed", "vtepd-fast": "no\ntcx"},
		},
		Scale: ScaleResults{
			Values:  map[string][]float64{"macs-tcp": {3, 4, 5}, "macs-few": {5}, "rest-rss": {20}, "restart-lost": {0, 3, 0}},
			Missing: map[string]string{"ports": "round 1: no room\nat all."},
		},
	}
}

func TestMarkdown(t *testing.T) {
	got := testReport().Markdown()
	for _, want := range []string{
		"2026-11-23, Z80 <fast>, 2 cores, Linux 6.18, go1.26.",
		"a TCP stream runs for 8s, with reno as its congestion control, a UDP load for 2s, round trips and short connections of a kind for 1s.",
		"A short connection is opened, carries one request and one answer of 64 bytes,",
		"| | held against | TCP, 1 stream, Gb/s |\n| --- | --- | ---: |\n",
		"| vtepd, TAP | kernel | 11.0 (1.25) |\n| kernel |  | 8.80 |\n",
		"| vtepd, TAP | kernel | 3.00 (0.75) |\n| kernel |  | 4.00 |\n",
		"| vtepd, TAP | kernel | 52.0 / 52.0 (2.00 / 0.50) |\n| kernel |  | 26.0 / 104 |\n",
		"bytes cross it). Short TCP connections a second**\n\n| | held against | one after another | 16 at once |\n| --- | --- | ---: | ---: |\n" +
			"| vtepd, TAP | kernel | 3100 (0.50) | 6000 (0.50) |\n| kernel |  | 6200 | 12000 |\n",
		"TCP, 1 stream 67 %", "short TCP connections, one after another 10 %",
		"Open vSwitch: not installed.", "vtepd, fast: no tcx.",
		// Targets: the aim, the bound, above it, below it, and what could not be measured.
		"| user space, TAP ports, TCP, 1 stream | veth | ≥ 0.6 | ≥ 1 | 1.250 | met, and the aim |\n",
		"| user space, TAP ports, TCP, 1 stream | wire | ≥ 0.6 | ≥ 1 | 0.750 | met |\n",
		"| user space, TAP ports, round trip, UDP, blocking sockets, p50 | wire | ≤ 1.1 | ≤ 0.9 | 2.000 | **missed** |\n",
		"| user space, TAP ports, round trip, UDP, blocking sockets, p99 | wire | ≤ 1.5 | ≤ 1 | 0.500 | met, and the aim |\n",
		"| fast path, TAP in the host namespace, TCP, 1 stream | veth | ≥ 1.05 | ≥ 1.25 | – | not measured |\n",
		"| user space, TCP with 1,000,000 forwarding entries, against 10 |  | ≥ 0.95 |  | 0.800 | **missed** |\n",
		"| fast path, kill -9 and restart under load, TCP connections lost |  | ≤ 0 |  | 3.000 | **missed** |\n",
		"forwarding entries on each host; against 10, Gb/s | 4.00 | 5.00 | 0.80 |\n",
		"10 TAP ports, MB | 20.0 |  |  |\n",
		"\nScale, ports: round 1: no room at all.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "| Open vSwitch |") || strings.Contains(got, "local TAPs") || strings.Contains(got, "4 streams") {
		t.Errorf("a row without a value in:\n%s", got)
	}
	if n := strings.Count(got, "Short TCP connections"); n != 1 {
		t.Errorf("%d tables of short connections, want that of the one mode with figures, in:\n%s", n, got)
	}
	r := testReport()
	r.Plan.Systems[2].Note, r.Plan.Systems[3].Note = "The kernel is noted.", "Who is missing is not."
	if got := r.Markdown(); !strings.Contains(got, "that has been heard of.\nThe kernel is noted.\n") || strings.Contains(got, "Who is missing") {
		t.Errorf("notes in:\n%s", got)
	}
	r = testReport()
	r.Plan.Metrics = []Metric{TCP1}
	if got := r.Markdown(); strings.Contains(got, "A short connection") || strings.Contains(got, "Short TCP") {
		t.Errorf("short connections, which were not wanted, in:\n%s", got)
	}
}

// TestOpenVSwitchIsNoted: its links have no offloads whatever the mode, so that the titles of two tables are not true of it.
func TestOpenVSwitchIsNoted(t *testing.T) {
	for _, s := range Systems(Programs{}) {
		if noted := strings.Contains(s.Note, "without offloads"); noted != (s.Name == "ovs") {
			t.Errorf("%s: note %q", s.Name, s.Note)
		}
	}
}

func TestChartIsWellFormedAndTrue(t *testing.T) {
	chart := testReport().Chart()
	widths := map[string][]string{}
	d := xml.NewDecoder(strings.NewReader(chart))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, chart)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			attrs := map[string]string{}
			for _, a := range e.Attr {
				attrs[a.Name.Local] = a.Value
			}
			widths[attrs["class"]] = append(widths[attrs["class"]], attrs["width"])
		}
	}
	// The first of each class is the legend's. The longest bar of a panel fills it; 3.00 of 11.0 is 3/11 of that.
	if got := widths["own"][1] + " " + widths["own wire"][1] + " " + widths["own gro"][1]; got != "260.0 70.9 130.0" {
		t.Errorf("bars of 11, 3 and 5.5 Gb/s are %s wide, want 260.0 70.9 130.0", got)
	}
	if !strings.Contains(chart, "Z80 &lt;fast&gt;") {
		t.Error("the machine's name is not escaped")
	}
}

func TestWriteKeepsTheRestOfThePage(t *testing.T) {
	dir := t.TempDir()
	r := testReport()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "benchmarks.md")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := "Foreword.\n" + string(first) + "Afterword.\n"
	if err := os.WriteFile(path, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Version = "v2"
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, count := range map[string]int{
		"Foreword.\n#": 1, "Afterword.\n": 1, "vtepd v1.": 0, "vtepd v2.": 1,
		"| 2026-11-23 | v1 | 11.0 (1.25) | 3.00 (0.75) | – | – | 52.0 (2.00) | – | – |": 1, "| 2026-11-23 | v2 | 11.0 (1.25) |": 1,
		"benchmarks.svg": 1,
	} {
		if got := strings.Count(string(second), want); got != count {
			t.Errorf("%q stands %d times, want %d, in:\n%s", want, got, count, second)
		}
	}
	if err := os.WriteFile(path, []byte("no markers\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(dir); !errors.Is(err, errMarkers) {
		t.Errorf("a page without markers: error %v", err)
	}
}
