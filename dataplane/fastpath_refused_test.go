package dataplane

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"vtepd/bench/lab"
	"vtepd/dataplane/xdp"
)

// TestFastPathRefused: what the kernel refuses is an error with on, and one line of log with auto; every frame passes user space then.
func TestFastPathRefused(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	var log bytes.Buffer
	c := Config{Local: h.Underlay4(), Workers: 1, Offload: true, FastPath: FastPathOn, refusePrograms: xdp.Refuse{TCX: true}}
	var s *Switch
	open := func() error {
		return h.Do(func() (err error) {
			s, err = New(c)
			return err
		})
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "tcx") || !strings.Contains(err.Error(), "fastpath: auto") {
		t.Errorf("on without tcx: %v: want what is missing and how to mend it", err)
	}
	c.FastPath, c.Log = FastPathAuto, slog.New(slog.NewTextHandler(&log, nil))
	if err := open(); err != nil {
		t.Fatal(err)
	}
	st := s.Status().FastPath
	if st.Active || st.Mode != FastPathAuto || !strings.Contains(st.Reason, "tcx") {
		t.Errorf("auto without tcx: %+v", st)
	}
	if err := s.SetFastPath(FastPathOn); err == nil {
		t.Error("switched on without tcx")
	}
	if err := s.SetFastPath(FastPathAuto); err != nil {
		t.Error(err)
	}
	if got := s.Status().FastPath; got.Mode != FastPathAuto {
		t.Errorf("a refused mode was kept: %+v", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "fast path off"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}

	// Without pins everything works but outliving the process, and that is said.
	c.refusePrograms, c.FastPath, c.PinDir = xdp.Refuse{}, FastPathOn, t.TempDir()
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if st := s.Status().FastPath; !st.Active || st.Pins != "" || st.PinReason == "" {
		t.Errorf("without a bpffs: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
