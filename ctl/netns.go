package ctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/dataplane/device"
)

// checkNetNS refuses a port for a network namespace that does not exist.
func checkNetNS(c dataplane.PortConfig) error {
	path := c.NetNS
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(device.NetNSDir, path)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return model.NotFound("ports/"+c.Name+"/netns", "port %s: network namespace %s does not exist: %s", c.Name, c.NetNS, device.HowToNetNS(c.NetNS))
	}
	return nil
}

// portPath is the place in a model that an error of the switch about a port points to.
func portPath(name string, err error) string {
	path := "ports/" + name
	if errors.Is(err, dataplane.ErrNoNetNS) {
		path += "/netns"
	}
	return path
}
