package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// replaceFile puts a file in the place of what is there once it is written whole: a full disk must not take the history of all runs away. Who owns what is there, as the
// user whose sudo this runs under, owns the new one too.
func replaceFile(path string, content []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has its other name when all went well
	mode := fs.FileMode(0o644)
	if old, statErr := os.Stat(path); statErr == nil {
		mode = old.Mode().Perm()
		if st, ok := old.Sys().(*syscall.Stat_t); ok {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	_, writeErr := f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), writeErr, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
