package bench

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseIperf(t *testing.T) {
	for _, c := range []struct {
		name, report string
		want         Throughput
		fails        bool
	}{
		{
			name: "four streams",
			report: `{"start":{"version":"iperf 3.12"},"intervals":[],"end":{"streams":[{"receiver":{"bytes":1}}],
				"sum_sent":{"bytes":2000131072,"bits_per_second":8.1e9},"sum_received":{"start":0,"end":2.0,"bytes":2000000000,"bits_per_second":8e9,"sender":true}}}`,
			want: Throughput{Bytes: 2e9, Gbps: 8},
		},
		{name: "refused", report: `{"start":{},"intervals":[],"end":{},"error":"unable to connect to server: Connection refused"}`, fails: true},
		{name: "nothing came", report: `{"end":{"sum_sent":{"bytes":87040},"sum_received":{"bytes":0,"bits_per_second":0}}}`, fails: true},
		{name: "no sum", report: `{"end":{}}`, fails: true},
		{name: "cut off", report: `{"end":{"sum_rec`, fails: true},
		{name: "empty", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseIperf([]byte(c.report))
			if c.fails != errors.Is(err, errIperf) {
				t.Fatalf("error %v, want failure %v", err, c.fails)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("throughput (-want +got):\n%s", d)
			}
		})
	}
}

func TestBusySeconds(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	got, err := busySeconds([]byte("cpu  100 20 30 4000 500 6 44 800 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"))
	if err != nil || got != 2 {
		t.Errorf("busySeconds = %v, %v, want 2", got, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu 1 2 x 4 5 6 7 8"} {
		if _, err := busySeconds([]byte(bad)); !errors.Is(err, errProcStat) {
			t.Errorf("busySeconds(%q): error %v", bad, err)
		}
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel([]byte("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu\n")); got != "AMD EPYC 7B13" {
		t.Errorf("cpuModel = %q", got)
	}
	if got := cpuModel([]byte("processor\t: 0\n")); got != "" {
		t.Errorf("cpuModel without a name = %q", got)
	}
}

func TestUsedSeconds(t *testing.T) {
	for _, c := range []struct {
		line string
		want float64
		ok   bool
	}{
		{"4711 (vtepd) S 1 4711 4711 0 -1 4194560 9 0 0 0 123 77 0 0 20 0 9 0 1 2 3", 2, true},
		{"4711 (a) b 1 2 (x) S 1 4711 4711 0 -1 4194560 9 0 0 0 50 1 0 0", 0.51, true},
		{"4711 (vtepd) S 1 4711", 0, false},
		{"4711 (vtepd) S 1 4711 4711 0 -1 4194560 9 0 0 0 x 77", 0, false},
		{"", 0, false},
	} {
		if got, err := usedSeconds([]byte(c.line)); got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %v s, error %v; want %v", c.line, got, err, c.want)
		}
	}
}
