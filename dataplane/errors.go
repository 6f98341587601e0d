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
	// ErrOption: a device cannot be as it is asked for.
	ErrOption = device.ErrOption
	// ErrClosed: the switch has been closed.
	ErrClosed = errors.New("switch is closed")
)
