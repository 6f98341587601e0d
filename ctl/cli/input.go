package cli

import (
	"context"
	"fmt"
	"io"
	"os"
)

// open opens a file, or the standard input for -, and says what errors call it; those of reading name it already. Whoever is at the other end of a pipe or a
// terminal may take their time, and opening a FIFO waits for them: reading ends with ctx, and what waits for them goes on waiting.
func (a *App) open(ctx context.Context, name string) (in io.ReadCloser, called string) {
	called = name
	if name == "-" {
		called = "standard input"
	}
	out, to := io.Pipe()
	go func() {
		to.CloseWithError(a.copyInput(to, name))
	}()
	context.AfterFunc(ctx, func() {
		to.CloseWithError(fmt.Errorf("%w before all of %s was read: nothing has been asked of vtepd", context.Cause(ctx), called))
	})
	return out, called
}

// copyInput copies what open opens.
func (a *App) copyInput(to io.Writer, name string) error {
	var in io.Reader = os.Stdin
	switch {
	case name != "-":
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	case a.Stdin != nil:
		in = a.Stdin
	}
	_, err := io.Copy(to, in)
	return err
}
