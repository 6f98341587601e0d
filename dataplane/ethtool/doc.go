// Package ethtool asks an interface for its driver and features, and switches them, by the commands of linux/ethtool.h.
//
// It knows nothing of ports, of frames, or of which features anybody should want.
package ethtool
