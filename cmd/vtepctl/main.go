// Command vtepctl looks at and changes a running vtepd; see vtepctl help. It knows nothing of words and requests: those are package cli's.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"vtepd/ctl/cli"
)

// oneStop is how long further signals count as the one that ends the command: `timeout` sends one to its child and another to the child's group.
const oneStop = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A command may wait for what no context ends, such as a FIFO that nobody reads: a second signal ends it as if nobody had asked for signals.
	context.AfterFunc(ctx, func() {
		time.Sleep(oneStop)
		stop()
	})
	app := &cli.App{Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(app.Run(ctx, os.Args[1:])) // without stop: a signal at the very end would be the exit status instead
}
