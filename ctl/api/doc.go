// Package api holds the types that the control API speaks: JSON over HTTP/1.1 on a unix socket. The keys are stable.
//
// The package knows neither server nor client, and no type of the switch: addresses and MACs travel as text.
package api
