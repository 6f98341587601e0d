package api

import "time"

// CaptureType is the content type of a capture.
const CaptureType = "application/x-pcapng"

// CaptureStall is how long the reader of a capture may take nothing before the capture is ended: what it names is off the fast path for as long as it goes on.
const CaptureStall = time.Minute

// CaptureSpec says which frames to capture: those of which everything holds that is not zero.
type CaptureSpec struct {
	Port string
	Peer string // an address, or address and UDP port
	VNI  uint32
	// Dir is in (what entered the switch), out (what left it), or both, which empty is too.
	Dir string
	// Drops: only what was dropped.
	Drops bool
	// Snaplen is how many bytes of a frame are kept, Count after how many frames the capture ends; 0 is all of both.
	Snaplen, Count uint32
}

// Captured is what a capture came to, in frames.
type Captured struct {
	Frames, Lost uint64
}
