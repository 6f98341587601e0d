package ctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// netnsDir is where `ip netns` keeps its names (ip-netns(8)).
const netnsDir = "/run/netns"

// checkNetNS refuses a port for a network namespace that does not exist.
func checkNetNS(c dataplane.PortConfig) error {
	path := c.NetNS
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(netnsDir, path)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return model.NotFound("ports/"+c.Name+"/netns", "port %s: network namespace %s does not exist: see `ip netns list`, or make it with `ip netns add %s`", c.Name, c.NetNS, c.NetNS)
	}
	return nil
}
