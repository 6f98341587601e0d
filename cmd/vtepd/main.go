// Command vtepd is a VXLAN tunnel endpoint and learning switch in user space; see vtepd --help. It knows nothing of options, files and signals: those are
// package daemon's.
package main

import (
	"os"

	"vtepd/ctl/daemon"
)

func main() {
	os.Exit(daemon.Main(os.Args[1:]))
}
