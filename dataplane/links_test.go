package dataplane

import (
	"os"
	"strings"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// openSockets counts the sockets of this process.
func openSockets(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// TestOverrunsLeaveNothing: a socket that lost announcements of interfaces is closed when another takes its place.
//
//	d0 ── d1 (up and down five hundred times while control is busy)   switch ════
func TestOverrunsLeaveNothing(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	l.Link(h, l.Host("b"), lab.LinkOptions{})
	n := startNode(t, h, func(c *Config) { c.Workers = 1 })
	h.Must("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	before := openSockets(t)
	for range 3 {
		n.mu.Lock()
		h.Must("sh", "-c", "ip -batch - <<END\n"+strings.Repeat("link set d0 up\nlink set d0 down\n", 500)+"END")
		n.mu.Unlock()
		time.Sleep(linkPoll + linkPoll/4) // by when there is another one
	}
	eventually(t, "the sockets are as many as before", func() bool { return openSockets(t) <= before })
}
