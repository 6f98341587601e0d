package lab

import (
	"errors"
	"os"
	"path/filepath"
)

// pinPlace is where vtepd pins the programs of its fast path, each under a name made of its control socket's. One that was killed leaves them.
const pinPlace = "/sys/fs/bpf/vtepd"

// removeFiles takes away what a lab has outside of its namespaces: its directories, and what programs pinned whose sockets were in them.
func removeFiles(suffix string) error {
	var errs []error
	for _, pattern := range []string{filepath.Join(os.TempDir(), tempName(suffix)+"*"), filepath.Join(pinPlace, "*"+tempName(suffix)+"*")} {
		found, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, path := range found {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

// tempName starts the names of a lab's directories.
func tempName(suffix string) string { return namePrefix + suffix + "-" }
