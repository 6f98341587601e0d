// Command vtepctl looks at and changes a running vtepd; see vtepctl help. It knows nothing of words and requests: those are package cli's.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"vtepd/ctl/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := &cli.App{Stdout: os.Stdout, Stderr: os.Stderr}
	code := app.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
