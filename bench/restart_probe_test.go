package bench

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
)

// noNice is set in the environment of a test that has no CAP_SYS_NICE.
const noNice = "VTEPD_TEST_NO_NICE"

// TestRestartWithoutProbeHasNoFigures: where no thread may have the priority of the probe, as in many containers, nobody looked, and nothing is said.
func TestRestartWithoutProbeHasNoFigures(t *testing.T) {
	lab.NeedRoot(t)
	if os.Getenv(noNice) == "" {
		runtime.LockOSThread() // never unlocked: the thread ends with the capabilities it lacks
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_NICE, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), noNice+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v:\n%s", err, out)
		} else if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	p := buildVtepd(t)
	plan := ScalePlan{Programs: p, Rounds: 1, Time: 200 * time.Millisecond, Log: t.Output()}
	for _, test := range ScaleTests {
		if test.Name == "restart" {
			plan.Tests = []ScaleTest{test}
		}
	}
	r := plan.Run(context.Background())
	if why := r.Missing["restart"]; !strings.Contains(why, "sched_setattr") {
		t.Skipf("no fast path here: %s", why)
	}
	if len(r.Values) != 0 {
		t.Errorf("figures %v without a probe", r.Values)
	}
}
