package model

import (
	"math"

	"vtepd/dataplane"
)

// MinSnaplen is an Ethernet header, in bytes: less of a frame tells nothing.
const MinSnaplen = 14

// CaptureDirs are the words for directions.
var CaptureDirs = []string{"in", "out", "both"}

// ParseCaptureDir reads which way captured frames go: in, out or both.
func ParseCaptureDir(s string) (dataplane.CaptureDir, error) {
	w, err := ParseWord(s, CaptureDirs...)
	switch w {
	case "in":
		return dataplane.CaptureIn, err
	case "out":
		return dataplane.CaptureOut, err
	}
	return dataplane.CaptureBoth, err
}

// ParseSnaplen reads how many bytes of a captured frame are kept.
func ParseSnaplen(s string) (int, error) {
	n, err := parseNumber(s, "a length in bytes", MinSnaplen, dataplane.MaxSnaplen)
	return int(n), err
}

// ParseCaptureCount reads after how many frames a capture ends.
func ParseCaptureCount(s string) (uint32, error) {
	n, err := parseNumber(s, "a count", 1, math.MaxUint32)
	return uint32(n), err
}
