package underlay

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// explainBind turns an error of bind(2) into one that says what to do.
func explainBind(err error, c *Config, port uint16) error {
	local := c.Local
	switch err {
	case unix.EADDRINUSE:
		return fmt.Errorf("%w (%w): %s", ErrPortInUse, err, describeHolder(local, port))
	case unix.EADDRNOTAVAIL:
		if name := interfaceWith(local); name != "" {
			if c.VRF != "" {
				return fmt.Errorf("%w (%w): %s has it, which is not in the VRF %s, it seems: `ip link show vrf %s` shows what is", ErrNoAddress, err, name, c.VRF, c.VRF)
			}
			return fmt.Errorf("%w (%w): %s has it, which is in a VRF, it seems (`ip -d link show %s`): name it with vrf in the configuration file", ErrNoAddress, err, name, name)
		}
		detection := ""
		if local.Is6() { // RFC 4862 section 5.4
			detection = "; one that `ip address` shows as tentative can be had in a second or two, and one that is dadfailed is another host's, too"
		}
		return fmt.Errorf("%w (%w): `ip -brief address` shows those that are, `ip address add %v/LENGTH dev INTERFACE` adds one%s",
			ErrNoAddress, err, local.WithZone(""), detection)
	}
	return err
}

// interfaceWith names the interface that has an address; "": none has, or it is IPv6 and may not be there yet (tentative).
func interfaceWith(a netip.Addr) string {
	all, err := net.Interfaces()
	if err != nil || a.Is6() {
		return ""
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, n := range addrs {
			if p, err := netip.ParsePrefix(n.String()); err == nil && p.Addr().Unmap() == a.WithZone("") {
				return i.Name
			}
		}
	}
	return ""
}

// describeHolder names the process that has the UDP port, as far as /proc
// shows it. A socket that no process has belongs to the kernel.
func describeHolder(local netip.Addr, port uint16) string {
	inodes := map[uint64]bool{}
	for _, table := range []string{"udp", "udp6"} {
		f, err := os.Open("/proc/thread-self/net/" + table)
		if err != nil {
			continue
		}
		for _, inode := range boundInodes(f, local, port) {
			inodes[inode] = true
		}
		f.Close()
	}
	if len(inodes) == 0 {
		return "the holder is not visible in /proc/net/udp"
	}
	pid, comm := processWith(inodes)
	if pid == 0 {
		return "held by the kernel, most likely a vxlan device: see `ip -d link show type vxlan`" +
			" (or by a process this one may not look into)"
	}
	return fmt.Sprintf("held by pid %d (%s): stop it or choose another dstport", pid, comm)
}

// boundInodes reads a table in the format of /proc/net/udp or udp6 and gives
// the inodes of the sockets that keep local:port from being bound. Lines that
// make no sense are passed over.
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
//	12: 010000C0:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 ...
//
// Addresses are 32-bit words in host order, printed in hexadecimal.
func boundInodes(r io.Reader, local netip.Addr, port uint16) []uint64 {
	var inodes []uint64
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 10 {
			continue
		}
		addr, p, ok := parseProcAddr(field[1])
		if !ok || p != port || (addr != local.WithZone("") && !addr.IsUnspecified()) {
			continue
		}
		inode, err := strconv.ParseUint(field[9], 10, 64)
		if err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

func parseProcAddr(s string) (netip.Addr, uint16, bool) {
	words, portHex, ok := strings.Cut(s, ":")
	if !ok {
		return netip.Addr{}, 0, false
	}
	port, err := strconv.ParseUint(portHex, 16, 16)
	if err != nil {
		return netip.Addr{}, 0, false
	}
	b, err := hex.DecodeString(words)
	if err != nil || (len(b) != 4 && len(b) != 16) {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(b); i += 4 {
		// %08X of a u32 in memory order: turn the printed number back.
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap(), uint16(port), true
}

// processWith finds a process with a descriptor of one of these sockets; pid 0:
// none, or none that this process may look into.
func processWith(inodes map[uint64]bool) (pid int, comm string) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, ""
	}
	for _, p := range procs {
		n, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + p.Name()
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link, err := os.Readlink(dir + "/fd/" + fd.Name())
			if err != nil {
				continue
			}
			digits, ok := strings.CutPrefix(link, "socket:[")
			if !ok {
				continue
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64)
			if err == nil && inodes[inode] {
				name, err := os.ReadFile(dir + "/comm")
				if err != nil {
					name = []byte("?")
				}
				return n, strings.TrimSpace(string(name))
			}
		}
	}
	return 0, ""
}
