package ctl

import (
	"errors"
	"net/http"

	"golang.org/x/sys/unix"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// statuses are the HTTP statuses of what the model, the switch and the kernel refuse. The first that fits counts, so what the switch says of itself stands
// before what the kernel said to it. An error that is not here is a fault of vtepd or its lack of a privilege: 500.
var statuses = []struct {
	sentinel error
	status   int
}{
	// Whatever it was refused for: something has changed.
	{ErrNotUndone, http.StatusInternalServerError},
	{dataplane.ErrNotFound, http.StatusNotFound},
	{fdb.ErrNotFound, http.StatusNotFound},
	{dataplane.ErrNoNetNS, http.StatusNotFound},
	{dataplane.ErrExists, http.StatusConflict},
	{fdb.ErrExists, http.StatusConflict},
	{dataplane.ErrInUse, http.StatusConflict},
	{dataplane.ErrBusy, http.StatusConflict},
	{dataplane.ErrNotTAP, http.StatusConflict},
	{dataplane.ErrUnfit, http.StatusConflict},
	{dataplane.ErrNoIPv6, http.StatusConflict},
	{dataplane.ErrGone, http.StatusConflict},
	{dataplane.ErrHost, http.StatusConflict},
	{dataplane.ErrOption, http.StatusUnprocessableEntity},
	{dataplane.ErrInvalid, http.StatusUnprocessableEntity},
	{dataplane.ErrLimit, http.StatusUnprocessableEntity},
	{fdb.ErrFull, http.StatusUnprocessableEntity},
	{dataplane.ErrBusyNow, http.StatusServiceUnavailable},
	{dataplane.ErrClosed, http.StatusServiceUnavailable},
	{ErrStopping, http.StatusServiceUnavailable},
	// Somebody else was quicker, or the interface has no such thing.
	{unix.EEXIST, http.StatusConflict},
	{unix.EBUSY, http.StatusConflict},
	{unix.ENODEV, http.StatusConflict},
	{unix.EADDRINUSE, http.StatusConflict},
	{unix.EOPNOTSUPP, http.StatusConflict},
	{unix.EADDRNOTAVAIL, http.StatusUnprocessableEntity},
	// A limit of the host, for as long as nobody raises it.
	{unix.EMFILE, http.StatusServiceUnavailable},
	{unix.ENFILE, http.StatusServiceUnavailable},
	{unix.ENOMEM, http.StatusServiceUnavailable},
	{unix.ENOBUFS, http.StatusServiceUnavailable},
}

// statusOf is the HTTP status for an error of the model or the switch.
func statusOf(err error) int {
	for _, k := range statuses {
		if errors.Is(err, k.sentinel) {
			return k.status
		}
	}
	return http.StatusInternalServerError
}
