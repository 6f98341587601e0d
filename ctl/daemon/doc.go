// Package daemon is the process around the switch: command line, configuration file, control socket, signals and the service manager.
//
// It starts the data plane, hands it to package ctl, and takes everything away again at the end. It knows no frame and no forwarding entry.
package daemon
