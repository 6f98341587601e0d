// Vtepd is a VXLAN tunnel endpoint and learning switch in user space; see vtepd --help.
package main

import (
	"os"

	"vtepd/ctl/daemon"
)

func main() {
	os.Exit(daemon.Main(os.Args[1:]))
}
