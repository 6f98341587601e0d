package main_test

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServiceManager stands in for systemd: sd_notify(3) messages arrive on a datagram socket that the environment names.
func TestServiceManager(t *testing.T) {
	l, h, other, _ := pair(t)
	config := overlay(h.Underlay4(), other.Underlay4(), h.OverlayPrefixes())
	d := prepare(t, l, h, config)
	path := filepath.Join(filepath.Dir(d.socket), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	buf := make([]byte, 4096)
	// next is the next message that is not the watchdog's.
	next := func() string {
		for {
			if err := manager.SetReadDeadline(time.Now().Add(soonTimeout)); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("no message: %v", err)
			}
			if m := string(buf[:n]); m != "WATCHDOG=1" {
				return m
			}
		}
	}
	const watchdog = 400 * time.Millisecond
	d.run(t, "NOTIFY_SOCKET="+path, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
	if got := next(); got != "READY=1" {
		t.Errorf("after the start: %q", got)
	}
	// Ready means that ports are there and the API answers.
	if got := d.portState(t, "vtep0"); got != "up" {
		t.Errorf("port when ready: %q", got)
	}
	for _, file := range []string{config, config + "colour: blue\n"} {
		d.write(t, file)
		if err := d.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if got := next(); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\n?$`).MatchString(got) {
			t.Errorf("on SIGHUP: %q", got)
		}
		if got := next(); got != "READY=1" {
			t.Errorf("after the reload: %q", got)
		}
	}
	// Twice in every interval; a busy machine may delay one.
	beats := 0
	for end := time.Now().Add(3 * watchdog); time.Now().Before(end); {
		if err := manager.SetReadDeadline(end); err != nil {
			t.Fatal(err)
		}
		if n, err := manager.Read(buf); err == nil && string(buf[:n]) == "WATCHDOG=1" {
			beats++
		}
	}
	if beats < 3 {
		t.Errorf("%d watchdog messages in three intervals, want about 6", beats)
	}
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "STOPPING=1" {
		t.Errorf("on SIGTERM: %q", got)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("end: %v", err)
	}
	if strings.Contains(d.Output(), "cannot be told") {
		t.Error(d.Output())
	}
}
