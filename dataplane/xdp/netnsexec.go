package xdp

import (
	"os"
	"path/filepath"
	"strings"

	"vtepd/dataplane/device"
)

// ownSys names the network namespace that `ip netns exec` runs the process in, "" when it does not: that mounts a sysfs called like the namespace on /sys, which
// the command alone sees and which ends with it (iproute2, lib/namespace.c), and so would a bpffs below it. mountinfo is as in proc_pid_mountinfo(5).
func ownSys(mountinfo string) (name string) {
	for line := range strings.Lines(mountinfo) {
		mount, kind, found := strings.Cut(line, " - ")
		at, of := strings.Fields(mount), strings.Fields(kind)
		if found && len(at) > 4 && at[4] == "/sys" && len(of) > 1 && of[0] == "sysfs" {
			name = of[1] // the last one mounted is on top
		}
	}
	if name == "" || strings.Contains(name, "/") {
		return ""
	}
	if _, err := os.Stat(filepath.Join(device.NetNSDir, name)); err != nil {
		return ""
	}
	return name
}
