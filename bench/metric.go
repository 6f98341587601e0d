// Package bench measures vtepd beside what exists: the kernel's vxlan device and Open vSwitch, in the same lab, on the same machine, turn by turn.
//
// It knows nothing of vtepd's inside: it starts the binary as an operator does and looks at traffic and at the machine's processor time.
package bench

import (
	"fmt"
	"slices"
)

// Metric names one figure.
type Metric string

// The figures, in the order of the tables.
const (
	TCP1  Metric = "tcp1"  // iperf3, one stream, received
	TCP4  Metric = "tcp4"  // iperf3, four streams, received
	CPU   Metric = "cpu"   // processor time of the whole machine during TCP1 for each 10^9 bytes received
	UDP1  Metric = "udp1"  // one flow of 64-byte payloads at full rate, received
	UDP64 Metric = "udp64" // 64 flows of mixed sizes at full rate, received

	// Requests and responses of 64 bytes, median and 99th percentile: first between threads that block in the socket, then between two services whose sockets
	// are in epoll (see Dialogue).
	RTT50     Metric = "rtt50"
	RTT99     Metric = "rtt99"
	Event50   Metric = "event50"
	Event99   Metric = "event99"
	One50     Metric = "one50" // everything tied to one CPU
	One99     Metric = "one99"
	Apart50   Metric = "apart50" // each host tied to a CPU of its own
	Apart99   Metric = "apart99"
	Many50    Metric = "many50" // 16 requests in flight, each on a socket of its own
	Many99    Metric = "many99"
	Stream50  Metric = "stream50" // over a TCP connection
	Stream99  Metric = "stream99"
	Streams50 Metric = "streams50" // over 16 TCP connections
	Streams99 Metric = "streams99"

	// Connections with one request and its response of 64 bytes each, between services as above.
	CRR  Metric = "crr"  // one after another
	CRRs Metric = "crrs" // 16 at once

	LocalTP Metric = "localtcp" // iperf3, one stream, between two ports of one host
)

// trips are the kinds of round trips, in the order of the table.
var trips = []struct {
	title    string
	p50, p99 Metric
}{
	{"UDP, services", Event50, Event99}, {"UDP, one CPU for all", One50, One99}, {"UDP, a CPU for each host", Apart50, Apart99}, {"UDP, 16 at once", Many50, Many99},
	{"TCP", Stream50, Stream99}, {"TCP, 16 at once", Streams50, Streams99}, {"UDP, blocking sockets", RTT50, RTT99},
}

// Metrics are all figures in the order of the tables.
var Metrics = slices.Concat(rateMetrics, tripMetrics, shortMetrics, []Metric{LocalTP})

// The figures of the first, the second and the third table of an underlay.
var (
	rateMetrics  = []Metric{TCP1, TCP4, CPU, UDP1, UDP64}
	tripMetrics  = []Metric{RTT50, RTT99, Event50, Event99, One50, One99, Apart50, Apart99, Many50, Many99, Stream50, Stream99, Streams50, Streams99}
	shortMetrics = []Metric{CRR, CRRs}
)

type metricText struct {
	title, unit string
	lowerBetter bool
}

var metricTexts = map[Metric]metricText{
	TCP1:      {"TCP, 1 stream", "Gb/s", false},
	TCP4:      {"TCP, 4 streams", "Gb/s", false},
	CPU:       {"CPU time a gigabyte", "s", true},
	UDP1:      {"UDP, 64 bytes, 1 flow", "kpps", false},
	UDP64:     {"UDP, mixed sizes, 64 flows", "kpps", false},
	RTT50:     {"round trip p50, UDP, blocking sockets", "µs", true},
	RTT99:     {"round trip p99, UDP, blocking sockets", "µs", true},
	Event50:   {"round trip p50, UDP", "µs", true},
	Event99:   {"round trip p99, UDP", "µs", true},
	One50:     {"round trip p50, UDP, one CPU for all", "µs", true},
	One99:     {"round trip p99, UDP, one CPU for all", "µs", true},
	Apart50:   {"round trip p50, UDP, a CPU for each host", "µs", true},
	Apart99:   {"round trip p99, UDP, a CPU for each host", "µs", true},
	Many50:    {"round trip p50, UDP, 16 at once", "µs", true},
	Many99:    {"round trip p99, UDP, 16 at once", "µs", true},
	Stream50:  {"round trip p50, TCP", "µs", true},
	Stream99:  {"round trip p99, TCP", "µs", true},
	Streams50: {"round trip p50, TCP, 16 at once", "µs", true},
	Streams99: {"round trip p99, TCP, 16 at once", "µs", true},
	CRR:       {"short TCP connections, one after another", "a second", false},
	CRRs:      {"short TCP connections, 16 at once", "a second", false},
	LocalTP:   {"TCP between two local ports", "Gb/s", false},
}

// Title names the figure for people.
func (m Metric) Title() string { return metricTexts[m].title }

// Unit is the unit of the figure.
func (m Metric) Unit() string { return metricTexts[m].unit }

// LowerBetter says which way is good.
func (m Metric) LowerBetter() bool { return metricTexts[m].lowerBetter }

// FormatValue writes a value with three digits that matter, without unit.
func FormatValue(v float64) string {
	switch {
	case v != v:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Mode says what the underlay does.
type Mode string

const (
	// Veth leaves the underlay's veth pair as the kernel makes it: superframes cross it whole.
	Veth Mode = "veth"
	// Wire switches its segmentation offloads off: only frames of at most the MTU cross it, as on a cable.
	Wire Mode = "wire"
	// WireGRO is Wire with a receiver that merges what arrives before the stack sees it, as a network card's driver does.
	WireGRO Mode = "wire-gro"
)

var modeTitles = map[Mode]string{
	Veth:    "veth pair as the kernel makes it (superframes cross it whole)",
	Wire:    "wire mode (only frames of at most 1500 bytes cross it)",
	WireGRO: "wire mode with GRO (the same, and the receiving end merges segments before the stack sees them)",
}

// Modes are all modes in the order of the table.
var Modes = []Mode{Veth, Wire, WireGRO}
