package xdp

import (
	"errors"
	"fmt"
	"os"
)

// Drop takes away what a process that was killed left at a pin directory: attached programs, maps, the directory. It is for a successor that goes without
// a fast path, since the programs would carry by the former's configuration for ever. It says whether there was anything. ErrLocked: a process that lives
// uses the directory. ErrReadOnly: nothing carries any more, and the pins stay.
func Drop(pinDir string) (bool, error) {
	switch _, err := os.Stat(pinDir); {
	case errors.Is(err, os.ErrNotExist):
		return false, removeCell(pinDir) // which is there without pins too, where there could be none
	case err != nil:
		return false, fmt.Errorf("pin directory: %w", err)
	}
	p, err := openPins(pinDir)
	if errors.Is(err, ErrReadOnly) {
		_, failed := Detach(pinDir)
		if failed = errors.Join(failed, removeCell(pinDir)); failed != nil {
			return false, failed
		}
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(p.remove(), removeCell(pinDir), p.close())
}
