// Package device is what the kinds of port devices have in common: the state of
// an interface, what was negotiated with the kernel for it, the namespace it is
// in, and its addresses.
//
// It knows nothing of frames, descriptors, queues or forwarding.
package device
