package device

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Superframe is how large a superframe the kernel makes for a device that says
// nothing else, in bytes: GSO_LEGACY_MAX_SIZE of <linux/netdevice.h>.
const Superframe = 65536

// Forwards says whether hosts of namespace ns pass IP packets of others on; -1 is
// the present one. (That one interface alone does, against what holds for all, is
// not looked for.)
func Forwards(ns int) (yes bool, err error) {
	err = Within(ns, func() error {
		for _, name := range []string{"/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			value, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a kernel without IPv6
			}
			if err != nil {
				return fmt.Errorf("does the host forward: %w", err)
			}
			yes = yes || !bytes.Equal(bytes.TrimSpace(value), []byte("0"))
		}
		return nil
	})
	return yes, err
}
