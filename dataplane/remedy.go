package dataplane

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// privilege is a capability (capabilities(7)) and its name.
type privilege struct {
	bit  uint
	name string
}

var (
	netAdmin = privilege{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}
	netRaw   = privilege{unix.CAP_NET_RAW, "CAP_NET_RAW"}
	sysAdmin = privilege{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}
	lowPorts = privilege{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"}
)

// privileges are what making the device of a port asks for.
func (c *PortConfig) privileges() []privilege {
	list := []privilege{netAdmin}
	if c.Type != PortTAP {
		list = append(list, netRaw)
	}
	if c.NetNS != "" {
		list = append(list, sysAdmin) // setns(2)
	}
	return list
}

// privileges are what opening the underlay asks for: the kernel keeps low ports for the host's own services (net.ipv4.ip_unprivileged_port_start).
func (c *Config) privileges() []privilege {
	for _, p := range c.Ports() {
		if p < 1024 {
			return []privilege{lowPorts}
		}
	}
	return nil
}

// remedy says how to mend what the kernel refuses to the process as a whole, whatever call has met it: which of the capabilities needed it lacks, and which
// limit it has reached. A device that vanished meanwhile comes again. Other errors stay as they are.
func remedy(err error, needed []privilege) error {
	switch {
	case errors.Is(err, ErrGone):
		return fmt.Errorf("%w: vtepd makes it again as soon as it can: try again then", err)
	case errors.Is(err, unix.EMFILE):
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
			break
		}
		return fmt.Errorf("%w: this process may have %d descriptors: raise LimitNOFILE= in its unit, or `ulimit -n` where it is started", err, limit.Cur)
	case errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w: the host may have no more descriptors: raise it with `sysctl -w fs.file-max=N`", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if missing := lacking(needed); len(missing) > 0 {
			return fmt.Errorf("%w: this process lacks %s: start it as root, or add that to AmbientCapabilities= and CapabilityBoundingSet= of its unit",
				err, strings.Join(missing, " and "))
		}
	}
	return err
}

// lacking names those capabilities that the calling thread does not have in effect. No thread of vtepd differs from another in that.
func lacking(needed []privilege) (missing []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return nil
	}
	for _, p := range needed {
		if data[p.bit/32].Effective>>(p.bit%32)&1 == 0 {
			missing = append(missing, p.name)
		}
	}
	return missing
}
