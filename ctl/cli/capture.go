package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var captureObject = &object{
	name:  "capture",
	short: "frames as they enter and leave, for tcpdump and Wireshark",
	self: &verb{
		endless:  true,
		synopsis: "[port NAME] [peer IP] [vni N] [dir in|out|both] [drops] [snaplen N] [count N] [write FILE]",
		short:    "write frames as pcapng, until interrupted",
		long: "Only frames of which all words hold are captured. Each has a comment that says its VNI, and why it was dropped. What the words name passes\n" +
			"user space meanwhile, except with drops. Without write the capture goes to stdout, which must be no terminal. At the end stderr\n" +
			"tells how many frames were captured, and how many were lost because this reader is too slow.",
		examples: []string{
			"vtepctl capture port tap0 | tcpdump -nr -",
			"vtepctl capture drops | tshark -lr -",
			"vtepctl capture peer 192.0.2.2 vni 42 count 100 write /tmp/peer.pcapng",
		},
		words: []word{
			portWord("what enters from this port and leaves to it; with peer, what goes between the two"),
			{name: "peer", values: "IP", help: "what comes from this peer and leaves to it", parse: valid(model.ParsePeer), complete: knownPeers},
			vniWord("of this VNI"),
			{name: "dir", values: "in|out|both", help: "what entered the switch, what left it, or both, the default", parse: valid(model.ParseCaptureDir)},
			{name: "drops", help: "only what was dropped"},
			{name: "snaplen", values: "N", help: "keep so many bytes of each frame", parse: valid(model.ParseSnaplen)},
			{name: "count", values: "N", help: "end after so many frames", parse: valid(model.ParseCaptureCount)},
			{name: "write", values: "FILE", file: true, help: "write there instead of to stdout; - is stdout, whatever that is"},
		},
		instead: map[string]string{"-w": "write FILE", "-i": "port NAME", "-c": "count N", "-s": "snaplen N", "-Q": "dir in|out|both"}, // tcpdump's
		run: func(ctx context.Context, app *App, a *args) error {
			out := &captureFile{app: app, name: a.get("write")}
			if out.name == "" && app.toTerminal() {
				return usagef("", "capture: stdout is a terminal, which cannot show it: pipe it into tcpdump (vtepctl capture | tcpdump -nr -), or say write FILE")
			}
			if out.name == "" || out.name == "-" {
				ctx = app.whileRead(ctx)
			}
			got, err := app.client.Capture(ctx, api.CaptureSpec{
				Port: a.get("port"), Peer: a.get("peer"), VNI: a.number("vni"), Dir: a.get("dir"), Drops: a.has("drops"),
				Snaplen: a.number("snaplen"), Count: a.number("count"),
			}, out)
			if end := out.close(); err == nil {
				err = end
			}
			if out.began {
				fmt.Fprintf(app.Stderr, "%s captured, %d lost\n", plural(int(got.Frames), "frame"), got.Lost)
			}
			switch {
			case errors.Is(err, io.ErrUnexpectedEOF) && out.slowest >= api.CaptureStall/2:
				return fmt.Errorf("vtepd at %s has ended the capture: nothing was read of it for %v", app.socket, api.CaptureStall)
			case errors.Is(err, io.ErrUnexpectedEOF):
				return fmt.Errorf("vtepd at %s has stopped", app.socket)
			}
			return err
		},
	},
}

// captureFile is where a capture goes. A file is made with the first write: a capture that is refused leaves what is there alone.
type captureFile struct {
	app   *App
	name  string
	began bool
	file  *os.File
	// slowest is how long a write took at most.
	slowest time.Duration
}

// captureMode keeps what others send from the eyes of this host's other users.
const captureMode = 0o600

func (c *captureFile) Write(p []byte) (n int, err error) {
	if !c.began && c.name != "" && c.name != "-" {
		if c.file, err = os.OpenFile(c.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, captureMode); err != nil {
			return 0, err
		}
	}
	c.began = true
	defer func(began time.Time) { c.slowest = max(c.slowest, time.Since(began)) }(time.Now())
	if c.file != nil {
		return c.file.Write(p)
	}
	return c.app.Stdout.Write(p)
}

func (c *captureFile) close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
