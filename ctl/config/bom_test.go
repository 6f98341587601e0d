package config

import (
	"errors"
	"testing"
)

// A byte order mark at the front is no part of the first key, and shifts no column.
func TestByteOrderMark(t *testing.T) {
	if _, err := Parse("f", []byte("\ufefflocal: 192.0.2.1\n")); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", []byte("\ufefflocal: x\n"))
	var e *Error
	if !errors.As(err, &e) || e.Line != 1 || e.Column != 8 {
		t.Errorf("got %v, want a mistake at 1:8", err)
	}
	if _, err := Parse("f", []byte("local: 192.0.2.1\n\ufeffdstport: 1\n")); err == nil {
		t.Error("a byte order mark inside the file is taken for nothing")
	}
}
