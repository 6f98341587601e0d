// Package ctl is the control side of vtepd: it holds the desired state of the switch, changes it command by command or file by file, and offers the
// control API.
//
// Every change takes the same way: the model (package model) is copied, the copy is edited and validated as a whole, the operations that lead from the
// old model to the new are worked out and run on the switch, and undone when one of them fails. So a refused command changes nothing, and a change
// touches only what it names.
//
// The package touches no packet and makes no interface: what it asks of the data plane is the interface Switch. It knows no file format (package
// config) and no command line (package cli).
package ctl

// Version is the version of this build, set by the linker: -X vtepd/ctl.Version=...
var Version = "dev"
