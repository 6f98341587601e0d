// Package device is what the kinds of port devices have in common: their options,
// the claim on an interface, its state, what was negotiated with the kernel for
// it, the size of its superframes, the namespace it is in, and its addresses.
//
// It knows nothing of reading, writing or forwarding frames.
package device
