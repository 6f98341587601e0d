package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// bindToVRF has a socket see and use the addresses and routes of a VRF alone; "" leaves it with those that are in none.
func bindToVRF(fd int, vrf string) error {
	if vrf == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, vrf); err != nil {
		return fmt.Errorf("underlay: setsockopt SO_BINDTODEVICE %s: %w", vrf, err)
	}
	return nil
}
