// Package model is the desired state of a switch: global options, VLAN names, VNIs, ports, peers and static forwarding entries, with the rules that
// make such a state valid.
//
// A Model is a value that is copied, edited and validated as a whole; whoever holds one may rely on it never changing. The package knows no file
// format, no command line, no HTTP and no running switch: those turn their input into a Model, and a Model into operations.
package model
