package cli

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// stdout is where output goes, when that is a file.
func (a *App) stdout() (*os.File, bool) {
	w := a.Stdout
	if c, ok := w.(*checkedWriter); ok {
		w = c.w
	}
	f, ok := w.(*os.File)
	return f, ok
}

// toTerminal says whether stdout is a terminal.
func (a *App) toTerminal() bool {
	f, ok := a.stdout()
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// errUnread is why a capture ends that nobody reads.
var errUnread = errors.New("nobody reads stdout any more")

// whileRead is a context that ends as well when stdout is a pipe whose reader has gone: without it that is known with the next frame, which may not come for long.
func (a *App) whileRead(ctx context.Context) context.Context {
	f, ok := a.stdout()
	if !ok {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for fds := []unix.PollFd{{Fd: int32(f.Fd())}}; ; {
			switch _, err := unix.Poll(fds, -1); {
			case err == unix.EINTR:
				continue
			case err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
				cancel(errUnread)
			}
			return
		}
	}()
	return ctx
}
