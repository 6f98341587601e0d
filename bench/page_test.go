package bench

import (
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDiskLeavesThePage: a page that does not fit leaves the one that is there. A bound on the size of files stands for the disk.
func TestFullDiskLeavesThePage(t *testing.T) {
	dir := t.TempDir()
	if err := testReport().Write(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "benchmarks.md")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var bound unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &bound); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: bound.Max}); err != nil {
		t.Fatal(err)
	}
	writeErr := testReport().Write(dir)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &bound); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if writeErr == nil || string(after) != string(before) {
		t.Errorf("error %v, page of %d bytes, was %d", writeErr, len(after), len(before))
	}
	if err := testReport().Write(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files %v, error %v, want the page and the chart", entries, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o777 != 0o644 || os.Getuid() == 0 && st.Uid != 65534 {
		t.Errorf("page of user %d, mode %o, error %v", st.Uid, st.Mode, err)
	}
}
