package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var (
	errIperf   = errors.New("iperf3 failed")
	iperfReady = "Server listening"
)

const (
	iperfPort    = 5201
	iperfTimeout = 5 * time.Second // for a connection, for the server to listen, and for the client beyond its own time
)

// iperfReport is what is used of `iperf3 --json`.
type iperfReport struct {
	Error string
	End   struct {
		SumReceived *struct {
			Bytes         float64
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	}
}

// Throughput is what the receiving side of a TCP run got.
type Throughput struct {
	Bytes      float64
	Gbps       float64 // 10^9 bits a second
	CPUSeconds float64 // processor time of the whole machine meanwhile
}

// parseIperf reads the JSON report of an iperf3 client.
func parseIperf(report []byte) (Throughput, error) {
	var r iperfReport
	if err := json.Unmarshal(report, &r); err != nil {
		return Throughput{}, fmt.Errorf("%w: report: %w", errIperf, err)
	}
	if r.Error != "" {
		return Throughput{}, fmt.Errorf("%w: %s", errIperf, r.Error)
	}
	if r.End.SumReceived == nil {
		return Throughput{}, fmt.Errorf("%w: report without end.sum_received", errIperf)
	}
	if r.End.SumReceived.Bytes <= 0 {
		// A connection of which only the handshake gets through, as where full frames do not fit: no throughput to divide by.
		return Throughput{}, fmt.Errorf("%w: connected, but nothing was received", errIperf)
	}
	return Throughput{Bytes: r.End.SumReceived.Bytes, Gbps: r.End.SumReceived.BitsPerSecond / 1e9}, nil
}

// TCP runs iperf3 from one site to the other for d, rounded up to whole seconds.
func TCP(from, to Site, streams int, d time.Duration) (Throughput, error) {
	seconds := int(math.Ceil(d.Seconds()))
	port := strconv.Itoa(iperfPort)
	server, err := to.Host.Start("iperf3", "-s", "-1", "-p", port, "-B", to.Addr.String(), "--forceflush")
	if err != nil {
		return Throughput{}, err
	}
	defer server.Stop()
	for end := time.Now().Add(iperfTimeout); !strings.Contains(server.Output(), iperfReady); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return Throughput{}, fmt.Errorf("%w: server does not listen: %s", errIperf, server.Output())
		}
	}
	before, err := processorTime()
	if err != nil {
		return Throughput{}, err
	}
	client, err := from.Host.Start("iperf3", "-c", to.Addr.String(), "-p", port, "-t", strconv.Itoa(seconds), "-P", strconv.Itoa(streams), "-J", "--connect-timeout", "3000")
	if err != nil {
		return Throughput{}, err
	}
	select {
	case <-client.Done():
	case <-time.After(time.Duration(seconds)*time.Second + iperfTimeout):
		_ = client.Stop()
		return Throughput{}, fmt.Errorf("%w: no end %v after its time", errIperf, iperfTimeout)
	}
	after, err := processorTime()
	if err != nil {
		return Throughput{}, err
	}
	t, err := parseIperf([]byte(client.Output()))
	t.CPUSeconds = after - before
	return t, err
}
