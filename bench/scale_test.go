package bench

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
	"vtepd/ctl/client"
)

// buildVtepd compiles the program as `make build` does.
func buildVtepd(t *testing.T) Programs {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vtepd")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "vtepd/cmd/vtepd")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return Programs{Vtepd: path}
}

// TestFillTable: the table holds as many entries as was asked for, and frames that the kernel dropped were sent again.
//
//	TAP ── vtepd on a {eth0} ══ {eth0} b, which plays the VTEP of all stations
func TestFillTable(t *testing.T) {
	lab.NeedRoot(t)
	p := buildVtepd(t)
	l := lab.New(t)
	a, b, _ := underlay(l, Wire)
	d, err := StartVtepd(l, a, p.Vtepd, OverlayConfig(a.Underlay4(), b.Underlay4(), TAPPort(a.OverlayPrefixes())))
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(d.Socket)
	defer c.Close()
	for _, entries := range []int{10, 20_000} {
		if err := fillTable(d, b, a, entries); err != nil {
			t.Fatal(err)
		}
		st, err := c.Status(context.Background())
		// The workload of the host itself may be among them.
		if err != nil || st.FDB.Dynamic < entries || st.FDB.Dynamic > entries+2 {
			t.Errorf("%d dynamic entries, want %d, error %v", st.FDB.Dynamic, entries, err)
		}
		behind, err := c.Peers(context.Background(), b.Underlay4().String(), 0, false)
		if err != nil || len(behind) != 1 || behind[0].MACs < entries-2 {
			t.Errorf("peers %+v, error %v; want %d MACs behind one", behind, err, entries)
		}
	}
}

// TestScaleRun makes the quicker figures once, all of each test.
func TestScaleRun(t *testing.T) {
	lab.NeedRoot(t)
	if err := Install(t.Output(), IPerf3); err != nil {
		t.Skip(err)
	}
	plan := ScalePlan{Programs: buildVtepd(t), Rounds: 1, Time: time.Second, Log: t.Output()}
	names := map[string]bool{}
	for _, test := range ScaleTests {
		if test.Name == "peers" || test.Name == "rest" {
			plan.Tests = append(plan.Tests, test)
			names[test.Name] = true
		}
	}
	r := plan.Run(context.Background())
	if len(r.Missing) > 0 {
		t.Errorf("missing: %v", r.Missing)
	}
	for _, f := range ScaleFigures {
		test, _, _ := strings.Cut(f.Name, "-")
		want := 1
		if strings.HasSuffix(f.Name, "-tcp") || strings.HasSuffix(f.Name, "-alone") {
			want = scaleRuns
		}
		if v := r.Values[f.Name]; names[test] && (len(v) != want || slices.Min(v) <= 0) {
			t.Errorf("%s: %v, want %d values", f.Name, v, want)
		}
	}
	if got := r.Values["rest-rss"]; len(got) == 1 && (got[0] < 2 || got[0] > 200) {
		t.Errorf("memory at rest: %v MB", got)
	}
}

func TestScaleFiguresAreConsistent(t *testing.T) {
	tests, seen := map[string]bool{}, map[string]bool{"": true}
	for _, test := range ScaleTests {
		tests[test.Name] = true
	}
	for _, f := range ScaleFigures {
		if test, _, _ := strings.Cut(f.Name, "-"); !tests[test] || seen[f.Name] || !seen[f.Against] || f.Hidden == (f.Title != "") {
			t.Errorf("figure %+v", f)
		}
		seen[f.Name] = true
	}
}
