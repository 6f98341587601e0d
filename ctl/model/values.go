package model

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"vtepd/dataplane"
	"vtepd/encap"
	"vtepd/fdb"
)

// The parsers here read one value as people write it, in the file, on a command line or in a JSON string. Their errors say what was read and what
// is expected; the caller adds where.

const (
	// maxAgeing keeps ageing times far inside the 32-bit seconds of a tick: ten years.
	maxAgeing = 10 * 365 * 24 * time.Hour
	// maxMaxMACs is what the forwarding table takes: at 64 bytes an entry, 256 MiB.
	maxMaxMACs = fdb.MaxLimit
	// minMTU is IPv4's (RFC 791 section 3.2), maxMTU what a 64 KiB TAP frame leaves after the Ethernet header.
	minMTU = 68
	maxMTU = 65521
	// minMTU6 is IPv6's (RFC 8200 section 5).
	minMTU6 = 1280
	// maxIfname is IFNAMSIZ less the terminating zero (linux/if.h).
	maxIfname = 15
	// MaxVID is the largest VLAN ID that may be used (IEEE 802.1Q table 9-2).
	MaxVID = 4094
)

// ParseVNI reads a VNI, 1..16777215.
func ParseVNI(s string) (uint32, error) {
	n, err := parseNumber(s, "a VNI", 1, dataplane.MaxVNI)
	return uint32(n), err
}

// ParseVID reads a VLAN ID, 1..4094.
func ParseVID(s string) (uint16, error) {
	n, err := parseNumber(s, "a VLAN ID", 1, MaxVID)
	return uint16(n), err
}

// ParsePort reads a UDP port, 1..65535.
func ParsePort(s string) (uint16, error) {
	n, err := parseNumber(s, "a UDP port", 1, 65535)
	return uint16(n), err
}

// ParsePortRange reads a range of UDP ports: 49152-65535, or one port.
func ParsePortRange(s string) ([2]uint16, error) {
	first, last, isRange := strings.Cut(s, "-")
	lo, err := ParsePort(strings.TrimSpace(first))
	hi := lo
	if err == nil && isRange {
		hi, err = ParsePort(strings.TrimSpace(last))
	}
	if err == nil && hi < lo {
		err = fmt.Errorf("%s is a range that ends before it starts: write %d-%d", quote(s), hi, lo)
	}
	return [2]uint16{lo, hi}, err
}

// ParseFlowLabel reads whether IPv6 flow labels are by source port or by inner flow.
func ParseFlowLabel(s string) (byFlow bool, err error) {
	w, err := ParseWord(s, "port", "flow")
	return w == "flow", err
}

// ParseMTU reads an MTU in bytes.
func ParseMTU(s string) (int, error) {
	return parseNumber(s, "an MTU", minMTU, maxMTU)
}

// ParseMaxMACs reads a bound of dynamic entries.
func ParseMaxMACs(s string) (int, error) {
	return parseNumber(s, "a number of MACs", 1, maxMaxMACs)
}

// ParseWorkers reads a number of worker threads; 0 is one a CPU.
func ParseWorkers(s string) (int, error) {
	return parseNumber(s, "a number of workers", 0, dataplane.MaxWorkers)
}

// ParseDuration reads a Go duration, or a bare 0.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, nerr := strconv.ParseUint(s, 10, 32); nerr == nil {
			return 0, fmt.Errorf("%s has no unit: write %ss for seconds", quote(s), s)
		}
		return 0, fmt.Errorf("%s is not a duration: expected a number with a unit, such as 300s or 5m", quote(s))
	}
	return d, nil
}

// ParseAgeing reads an ageing time; 0 is never.
func ParseAgeing(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		return 0, err
	case d < 0:
		return 0, fmt.Errorf("%s is negative: expected 0 (never) or more", quote(s))
	case d > maxAgeing:
		return 0, fmt.Errorf("%s is longer than ten years: write 0 for never", quote(s))
	}
	return d, nil
}

// ParseBool reads true or on, false or off.
func ParseBool(s string) (bool, error) {
	switch s {
	case "true", "on", "yes":
		return true, nil
	case "false", "off", "no":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither on nor off: write on or off, or true or false", quote(s))
}

// ParseWord reads one of a few words, and says which one was nearly written.
func ParseWord(s string, words ...string) (string, error) {
	if slices.Contains(words, s) {
		return s, nil
	}
	// YAML's other words for on and off are near to the wrong one of the two.
	hint := DidYouMean(s, words)
	if b, err := ParseBool(s); err == nil {
		hint = DidYouMean(map[bool]string{true: "on", false: "off"}[b], words)
	}
	return "", fmt.Errorf("%s is not one of %s%s", quote(s), strings.Join(words, ", "), hint)
}

// ParsePolicy reads a peer policy.
func ParsePolicy(s string) (dataplane.Policy, error) {
	w, err := ParseWord(s, "strict", "learn")
	if w == "learn" {
		return dataplane.Learn, err
	}
	return dataplane.Strict, err
}

// ParseTTL reads an outer TTL, 1..255, or inherit.
func ParseTTL(s string) (HeaderByte, error) {
	return parseHeaderByte(s, "a TTL", 1, 255)
}

// ParseGroupTTL reads an outer TTL toward a group, 1..255.
func ParseGroupTTL(s string) (uint8, error) {
	n, err := parseNumber(s, "a TTL", 1, 255)
	return uint8(n), err
}

// ParseDSCP reads an outer DSCP, 0..63, or inherit.
func ParseDSCP(s string) (HeaderByte, error) {
	return parseHeaderByte(s, "a DSCP", 0, 63)
}

func parseHeaderByte(s, what string, lo, hi int) (HeaderByte, error) {
	if s == "inherit" {
		return HeaderByte{Inherit: true}, nil
	}
	n, err := parseNumber(s, what, lo, hi)
	if err != nil {
		err = fmt.Errorf("%w, or inherit", err)
	}
	return HeaderByte{N: uint8(n)}, err
}

func (h HeaderByte) String() string {
	if h.Inherit {
		return "inherit"
	}
	return strconv.Itoa(int(h.N))
}

// ParseECN reads an ECN encapsulation rule.
func ParseECN(s string) (encap.ECNMode, error) {
	w, err := ParseWord(s, "rfc6040", "linux")
	if w == "linux" {
		return encap.ECNLinux, err
	}
	return encap.ECNRFC6040, err
}

// ECNWord is the word for an ECN encapsulation rule.
func ECNWord(m encap.ECNMode) string {
	if m == encap.ECNLinux {
		return "linux"
	}
	return "rfc6040"
}

// ParseUDPChecksum reads whether IPv4 datagrams carry a UDP checksum.
func ParseUDPChecksum(s string) (dataplane.UDPChecksum, error) {
	w, err := ParseWord(s, "auto", "on", "off")
	switch w {
	case "on":
		return dataplane.ChecksumOn, err
	case "off":
		return dataplane.ChecksumOff, err
	}
	return dataplane.ChecksumAuto, err
}

// ParseZeroChecksum reads off, rx, tx or both.
func ParseZeroChecksum(s string) (ZeroChecksum, error) {
	w, err := ParseWord(s, "off", "rx", "tx", "both")
	return ZeroChecksum{Rx: w == "rx" || w == "both", Tx: w == "tx" || w == "both"}, err
}

func (z ZeroChecksum) String() string {
	switch z {
	case ZeroChecksum{Rx: true}:
		return "rx"
	case ZeroChecksum{Tx: true}:
		return "tx"
	case ZeroChecksum{Rx: true, Tx: true}:
		return "both"
	}
	return "off"
}

// ParseMulticast reads the address of a multicast group, with or without a UDP port. Port 0 stands for none.
func ParseMulticast(s string) (netip.AddrPort, error) {
	g, err := ParsePeer(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if problem := notJoined(g.Addr()); problem != "" {
		return netip.AddrPort{}, fmt.Errorf("%s %s", quote(s), problem)
	}
	return g, nil
}

// notJoined says why an address is no multicast group to join, and what to write; "": it is one.
func notJoined(a netip.Addr) string {
	switch {
	case !a.IsMulticast():
		return "is no multicast group: write one, such as 239.1.1.1 or ff05::100"
	case a.IsInterfaceLocalMulticast():
		return "never leaves this host (scope 1, RFC 4291 section 2.7): write a wider group, such as ff05::100"
	case a == netip.AddrFrom4([4]byte{224, 0, 0, 1}) || a == netip.MustParseAddr("ff02::1"):
		return "is all hosts, which nobody can join: write another group, such as 239.1.1.1 or ff05::100"
	}
	return ""
}

// ParseMAC reads a MAC address in any of the usual forms.
func ParseMAC(s string) (fdb.MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return 0, fmt.Errorf("%s is not a MAC address, such as 02:00:00:00:00:01", quote(s))
	}
	return fdb.FromBytes(hw), nil
}

// ParsePortMAC reads the MAC address of an interface: neither multicast nor zero.
func ParsePortMAC(s string) (net.HardwareAddr, error) {
	m, err := ParseMAC(s)
	switch {
	case err != nil:
		return nil, err
	case m.IsZero():
		return nil, fmt.Errorf("%s is no address for an interface: leave it away for a random one", quote(s))
	case m.IsMulticast():
		return nil, fmt.Errorf("%s is a group address: the lowest bit of the first byte must be 0", quote(s))
	}
	hw, _ := net.ParseMAC(s)
	return hw, nil
}

// VIDSet holds VLAN IDs of one list, to find those that it names twice.
type VIDSet [MaxVID + 1]bool

// Add refuses a VLAN ID that is there already.
func (s *VIDSet) Add(vid uint16) error {
	if s[vid] {
		return fmt.Errorf("VLAN %d is listed twice: leave one away", vid)
	}
	s[vid] = true
	return nil
}

// ParseVIDs reads VLAN IDs and ranges (10,20-30), each once, into an ascending list.
func ParseVIDs(s string) ([]uint16, error) {
	var vids []uint16
	var listed VIDSet
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		lo, err := ParseVID(from)
		if err != nil {
			return nil, err
		}
		hi := lo
		if isRange {
			if hi, err = ParseVID(to); err != nil {
				return nil, err
			}
			if hi < lo {
				return nil, fmt.Errorf("%s is a range that ends before it starts: write %d-%d", quote(part), hi, lo)
			}
		}
		for v := lo; v <= hi; v++ {
			if err := listed.Add(v); err != nil {
				return nil, err
			}
			vids = append(vids, v)
		}
	}
	slices.Sort(vids)
	return vids, nil
}

// VIDText writes VLAN IDs in ascending order as ParseVIDs reads them: 10,20-30.
func VIDText(vids []uint16) string {
	var parts []string
	for i := 0; i < len(vids); {
		j := i
		for j+1 < len(vids) && vids[j+1] == vids[j]+1 {
			j++
		}
		switch j - i {
		case 0:
			parts = append(parts, fmt.Sprint(vids[i]))
		case 1:
			parts = append(parts, fmt.Sprint(vids[i]), fmt.Sprint(vids[j]))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", vids[i], vids[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// ParsePortName reads a name that the kernel takes for an interface (dev_valid_name, net/core/dev.c) and that is no template.
func ParsePortName(s string) (string, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("%s is empty: write the name of an interface, such as eth0", quote(s))
	case len(s) > maxIfname:
		return "", fmt.Errorf("%s has %d bytes: an interface name has at most %d", quote(s), len(s), maxIfname)
	case s == "." || s == "..":
		return "", fmt.Errorf("%s is not a name for an interface", quote(s))
	case s == "all" || s == "default":
		return "", fmt.Errorf("%s is not a name for an interface: it stands for all of them in /proc/sys/net", quote(s))
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || r == '/' || r == ':' || r == '%' {
			return "", fmt.Errorf("%s is not a name for an interface: it has a %q in it", quote(s), r)
		}
	}
	return s, nil
}

// ParseNetNS reads the name of a network namespace, or an absolute path of one.
func ParseNetNS(s string) (string, error) {
	if s == "" || s == "." || s == ".." || len(s) > 255 || strings.ContainsAny(s, "\x00\n") || (strings.Contains(s, "/") && s[0] != '/') {
		return "", fmt.Errorf("%s is not the name of a network namespace: see `ip netns list`", quote(s))
	}
	return s, nil
}

// ParsePortType reads the type of a port.
func ParsePortType(s string) (dataplane.PortType, error) {
	switch t := dataplane.PortType(s); t {
	case dataplane.PortTAP, dataplane.PortNetdev, dataplane.PortVeth:
		return t, nil
	}
	return "", fmt.Errorf("%s is not a port type: use tap, netdev or veth", quote(s))
}

// ParseIfName reads the name of the workload's end of a veth port.
func ParseIfName(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("ifname is empty: write the name of the workload's end, such as eth0")
	}
	return ParsePortName(s)
}

// ParseFastPath reads off, auto or on.
func ParseFastPath(s string) (FastPath, error) {
	w, err := ParseWord(s, "off", "auto", "on")
	return FastPath(w), err
}

// ParseCPULatency reads off, auto or on.
func ParseCPULatency(s string) (CPULatency, error) {
	w, err := ParseWord(s, "off", "auto", "on")
	return CPULatency(w), err
}

// quote shortens what it quotes: input comes from anywhere.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:61] + "..."
	}
	return strconv.Quote(s)
}
