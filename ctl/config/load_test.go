package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLoadFIFO: a FIFO that nobody writes to is refused at once.
func TestLoadFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := Load(ctx, path); err == nil || !strings.HasPrefix(err.Error(), path+": a FIFO") {
		t.Errorf("error %v", err)
	}
}

// TestLoadPipe: what a shell pipes in is read to its end, however long that takes, unless somebody ends the wait. A symlink is followed.
func TestLoadPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), link); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	if _, err := Load(ctx, link); !errors.Is(err, cause) {
		t.Errorf("the wait ended with %v", err)
	}
	// What waited then still does, and ends with the pipe.
	w.Close()

	if r, w, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, "local: 192.0.2.1\n")
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, "dstport: 4790\n")
		w.Close()
	}()
	f, err := Load(context.Background(), fmt.Sprintf("/dev/fd/%d", r.Fd()))
	if err != nil || f.Model.Global.DstPort != 4790 {
		t.Errorf("%+v, %v", f, err)
	}
}
