package model

import (
	"fmt"
	"strings"

	"vtepd/dataplane"
)

// Error says what is wrong with one place of a model.
type Error struct {
	// Path names the place: "dstport", "vnis/42/peers/192.0.2.2", "ports/tap3/vni". Objects are named by their key, list items by their text.
	Path string
	// Msg is `what: remedy`.
	Msg string
	// Kind is one of the dataplane sentinels (ErrNotFound, ErrExists, ErrInUse, ErrInvalid, ErrLimit).
	Kind error
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives the sentinel.
func (e *Error) Unwrap() error { return e.Kind }

// Field is the word for the wrong value, as in the file: the third part of a path into an object, the whole path of a global option.
func (e *Error) Field() string {
	switch parts := strings.Split(e.Path, "/"); len(parts) {
	case 1:
		return parts[0]
	case 2:
		return map[string]string{"vnis": "vni", "ports": "port", "vlans": "vid", "static": "mac"}[parts[0]]
	default:
		return parts[2]
	}
}

// NotFound is an Error about an object that does not exist.
func NotFound(path, format string, args ...any) *Error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Kind: dataplane.ErrNotFound}
}

// Exists is an Error about an object that is there already.
func Exists(path, format string, args ...any) *Error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Kind: dataplane.ErrExists}
}

// InUse is an Error about an object that another one names.
func InUse(path, format string, args ...any) *Error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Kind: dataplane.ErrInUse}
}

// Invalid is an Error about a value.
func Invalid(path, format string, args ...any) *Error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Kind: dataplane.ErrInvalid}
}
