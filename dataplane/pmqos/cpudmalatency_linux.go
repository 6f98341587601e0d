package pmqos

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// Device is the kernel's character device for such requests (kernel/power/qos.c).
const Device = "/dev/cpu_dma_latency"

// Request is a bound that may be held. One goroutine at a time may use it.
type Request struct {
	device string
	bound  time.Duration
	file   *os.File // nil: not held
}

// NewRequest is one by a device, Device outside of tests; it is not held yet.
func NewRequest(device string, bound time.Duration) *Request {
	return &Request{device: device, bound: bound}
}

// Hold has every CPU wake up within the bound, until Release or the end of the process. When it is held already nothing happens.
func (r *Request) Hold() error {
	if r.file != nil {
		return nil
	}
	f, err := os.OpenFile(r.device, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("pmqos: %w", err)
	}
	// A signed number of microseconds of 32 bits in host byte order.
	if _, err = f.Write(binary.NativeEndian.AppendUint32(nil, uint32(r.bound.Microseconds()))); err != nil {
		f.Close()
		return fmt.Errorf("pmqos: %w", err)
	}
	r.file = f
	return nil
}

// Held says whether it is.
func (r *Request) Held() bool { return r.file != nil }

// Release lets CPUs sleep as they like, as far as we are concerned.
func (r *Request) Release() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}
