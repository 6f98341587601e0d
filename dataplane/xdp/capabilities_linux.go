package xdp

import "golang.org/x/sys/unix"

// missingCapabilities names what this process would need to load the programs and has not in effect: CAP_BPF and CAP_NET_ADMIN to load and attach
// them, CAP_PERFMON for arithmetic on pointers. Before Linux 5.8 CAP_SYS_ADMIN stood for the first and the last, and still does.
func missingCapabilities() []string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return nil
	}
	has := func(bit uint) bool { return data[bit/32].Effective>>(bit%32)&1 != 0 }
	var missing []string
	for _, c := range []struct {
		bit  uint
		name string
		root bool // CAP_SYS_ADMIN will do
	}{
		{unix.CAP_BPF, "CAP_BPF", true},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", false},
		{unix.CAP_PERFMON, "CAP_PERFMON", true},
	} {
		if !has(c.bit) && !(c.root && has(unix.CAP_SYS_ADMIN)) {
			missing = append(missing, c.name)
		}
	}
	return missing
}
