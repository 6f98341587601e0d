package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Load reads and checks the file at path. It returns when ctx is done at the latest, with the cause of that: the program at the other end of a pipe may take
// its time, and so may a file server. What waits for them then goes on waiting.
func Load(ctx context.Context, path string) (*File, error) {
	type contents struct {
		data []byte
		err  error
	}
	done := make(chan contents, 1)
	go func() {
		data, err := read(path)
		done <- contents{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case c := <-done:
		if c.err != nil {
			return nil, &Error{File: path, Msg: c.err.Error()}
		}
		return Parse(path, c.data)
	}
}

func read(path string) ([]byte, error) {
	// O_NONBLOCK: opening a FIFO would wait for a writer. A pipe is waited for by the runtime all the same.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	if isFIFO(f) {
		return nil, errors.New("a FIFO, which nobody may ever write to: name a file with --config, or pipe it in: cat FIFO | vtepd --config /dev/stdin")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return data, nil
}

func unreadable(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%w: name a readable file with --config", err)
}

// isFIFO says whether f is a pipe that has a name. One without, as a shell makes it, has a writer or has had one.
func isFIFO(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return false
	}
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type != unix.PIPEFS_MAGIC
}
