package dataplane

import (
	"errors"

	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
	"vtepd/dataplane/tap"
)

// What a control operation can be refused for. A refused operation has changed nothing.
var (
	// ErrNotFound: the named object does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: an object of that name exists.
	ErrExists = errors.New("already exists")
	// ErrInUse: something else still names the object.
	ErrInUse = errors.New("in use")
	// ErrInvalid: a value is outside what is allowed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a bound of the switch is reached.
	ErrLimit = errors.New("limit reached")
	// ErrBusy: another process holds the device of a port.
	ErrBusy = device.ErrBusy
	// ErrNotTAP: an interface that is no TAP has the name of a port.
	ErrNotTAP = tap.ErrNotTAP
	// ErrUnfit: an interface has the name of a port and cannot be taken as it is.
	ErrUnfit = netdev.ErrUnfit
	// ErrNoNetNS: there is no network namespace of the name that a port gives.
	ErrNoNetNS = device.ErrNoNetNS
	// ErrNoIPv6: an IPv6 address was asked for where the host has IPv6 switched off.
	ErrNoIPv6 = device.ErrNoIPv6
	// ErrGone: the device of a port was deleted while it was changed.
	ErrGone = device.ErrGone
	// ErrBusyNow: too many ask for the same at the same time.
	ErrBusyNow = errors.New("try again in a moment")
	// ErrHost: the host does not let what was asked for, and would after a change to it.
	ErrHost = errors.New("not possible on this host")
	// ErrOption: a device cannot be as it is asked for.
	ErrOption = device.ErrOption
	// ErrClosed: the switch has been closed.
	ErrClosed = errors.New("switch is closed")
)

// ConfigError is an error about one field of a Config; its text says by itself what is wrong.
type ConfigError struct {
	// Field is the name of the field, and Value which element of it where it is one of several.
	Field, Value string
	error
}

func (e *ConfigError) Unwrap() error { return e.error }

// invalidError is an ErrInvalid whose text says by itself what is wrong.
type invalidError struct{ error }

func (e invalidError) Unwrap() []error { return []error{e.error, ErrInvalid} }
