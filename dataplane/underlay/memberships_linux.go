package underlay

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Memberships are the multicast groups that an interface is in, whoever joined
// them, in the network namespace of the calling thread. The kernel takes them
// away without telling the sockets when it takes an address family from an
// interface, as IPv6 where the MTU falls below 1280, or when another interface
// has the index. An error means that it cannot be found out.
func Memberships(is6 bool, ifindex int) (map[netip.Addr]bool, error) {
	name, parse := "/proc/thread-self/net/igmp", parseIGMP
	if is6 {
		name, parse = "/proc/thread-self/net/igmp6", parseIGMP6
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	groups := make(map[netip.Addr]bool)
	return groups, parse(f, ifindex, groups)
}

// parseIGMP reads a table in the format of /proc/net/igmp. Lines that make no
// sense are passed over.
//
//	Idx	Device    : Count Querier	Group    Users Timer	Reporter
//	2	eth0      :     2      V3
//					010000E0     1 0:00000000		0
//
// Groups are 32-bit words in host order, printed in hexadecimal.
func parseIGMP(r io.Reader, ifindex int, groups map[netip.Addr]bool) error {
	lines := bufio.NewScanner(r)
	here := false
	for lines.Scan() {
		line := lines.Text()
		field := strings.Fields(line)
		if len(field) == 0 {
			continue
		}
		if line[0] != '\t' && line[0] != ' ' {
			here = field[0] == strconv.Itoa(ifindex)
			continue
		}
		b, err := hex.DecodeString(field[0])
		if !here || err != nil || len(b) != 4 {
			continue
		}
		binary.NativeEndian.PutUint32(b, binary.BigEndian.Uint32(b))
		groups[netip.AddrFrom4([4]byte(b))] = true
	}
	return lines.Err()
}

// parseIGMP6 reads a table in the format of /proc/net/igmp6. Lines that make no
// sense are passed over.
//
//	2    eth0            ff020000000000000000000000000001     1 0000000C 0
func parseIGMP6(r io.Reader, ifindex int, groups map[netip.Addr]bool) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 3 || field[0] != strconv.Itoa(ifindex) {
			continue
		}
		if b, err := hex.DecodeString(field[2]); err == nil && len(b) == 16 {
			groups[netip.AddrFrom16([16]byte(b))] = true
		}
	}
	return lines.Err()
}
