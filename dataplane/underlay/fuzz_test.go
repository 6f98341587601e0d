package underlay

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// control builds ancillary data of any entries.
func control(entries ...func(b []byte) int) []byte {
	b := make([]byte, 256)
	n := 0
	for _, put := range entries {
		n += put(b[n:])
	}
	return b[:n]
}

func anInt(level, kind int32, value int) func([]byte) int {
	return func(b []byte) int { return putInt(b, level, kind, value) }
}

func aByte(level, kind int32, value byte) func([]byte) int {
	return func(b []byte) int {
		n := putCmsg(b, level, kind, 1)
		b[cmsgHeader] = value
		return n
	}
}

func TestAncillary(t *testing.T) {
	gro := anInt(unix.SOL_UDP, unix.UDP_GRO, 1450)
	for _, tc := range []struct {
		name string
		in   []byte
		want ancillary
	}{
		{"nothing", nil, ancillary{}},
		{"gro", control(gro), ancillary{segment: 1450}},
		{"tos", control(aByte(unix.SOL_IP, unix.IP_TOS, 0xba)), ancillary{tos: 0xba}},
		{"both", control(aByte(unix.SOL_IP, unix.IP_TOS, 3), gro), ancillary{segment: 1450, tos: 3}},
		{"class", control(anInt(unix.SOL_IPV6, unix.IPV6_TCLASS, 0xb9), gro), ancillary{segment: 1450, tos: 0xb9}},
		{"others", control(anInt(unix.SOL_SOCKET, unix.SO_MARK, 7), gro), ancillary{segment: 1450}},
		{"cut in the data", control(gro)[:cmsgHeader+3], ancillary{}},
		{"cut in the header", control(gro)[:cmsgHeader-1], ancillary{}},
		{"cut in the padding", control(gro)[:cmsgHeader+4], ancillary{segment: 1450}},
		{"negative size", control(anInt(unix.SOL_UDP, unix.UDP_GRO, -1)), ancillary{segment: -1}},
	} {
		if diff := cmp.Diff(tc.want, parseAncillary(tc.in), cmp.AllowUnexported(ancillary{})); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
	}
}

func FuzzAncillary(f *testing.F) {
	f.Add(control(anInt(unix.SOL_UDP, unix.UDP_GRO, 1450), aByte(unix.SOL_IP, unix.IP_TOS, 3)))
	f.Add(control(anInt(unix.SOL_IPV6, unix.IPV6_TCLASS, 1)))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := parseAncillary(b)
		// x/sys is the oracle wherever it finds no fault.
		messages, err := unix.ParseSocketControlMessage(b)
		if err != nil {
			return
		}
		var want ancillary
		for _, m := range messages {
			switch {
			case m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 4:
				want.segment = int(int32(binary.NativeEndian.Uint32(m.Data)))
			case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_TOS && len(m.Data) >= 1:
				want.tos = m.Data[0]
			case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_TCLASS && len(m.Data) >= 4:
				want.tos = uint8(binary.NativeEndian.Uint32(m.Data))
			}
		}
		if got != want {
			t.Errorf("%+v, x/sys finds %+v", got, want)
		}
	})
}

// extendedError is an IP_RECVERR entry as the kernel writes it.
func extendedError(level, kind int32, errno unix.Errno, origin, icmpType, code byte, info uint32, from netip.Addr) func([]byte) int {
	return func(b []byte) int {
		n := putCmsg(b, level, kind, 16+28)
		d := b[cmsgHeader:]
		binary.NativeEndian.PutUint32(d, uint32(errno))
		d[4], d[5], d[6] = origin, icmpType, code
		binary.NativeEndian.PutUint32(d[8:], info)
		switch {
		case from.Is4():
			binary.NativeEndian.PutUint16(d[16:], unix.AF_INET)
			copy(d[20:], from.AsSlice())
		case from.Is6():
			binary.NativeEndian.PutUint16(d[16:], unix.AF_INET6)
			copy(d[24:], from.AsSlice())
		}
		return n
	}
}

func TestExtendedError(t *testing.T) {
	router, router6 := ip("198.51.100.1"), ip("2001:db8::ff")
	for _, tc := range []struct {
		name string
		in   []byte
		want ICMPError
		ok   bool
	}{
		{"nothing", nil, ICMPError{}, false},
		{"port unreachable",
			control(extendedError(unix.SOL_IP, unix.IP_RECVERR, unix.ECONNREFUSED, unix.SO_EE_ORIGIN_ICMP, 3, 3, 0, router)),
			ICMPError{Errno: unix.ECONNREFUSED, Type: 3, Code: 3, From: router}, true},
		{"fragmentation needed, behind another entry",
			control(anInt(unix.SOL_SOCKET, 1, 1),
				extendedError(unix.SOL_IP, unix.IP_RECVERR, unix.EMSGSIZE, unix.SO_EE_ORIGIN_ICMP, 3, 4, 1400, router)),
			ICMPError{Errno: unix.EMSGSIZE, Type: 3, Code: 4, MTU: 1400, From: router}, true},
		{"packet too big",
			control(extendedError(unix.SOL_IPV6, unix.IPV6_RECVERR, unix.EMSGSIZE, unix.SO_EE_ORIGIN_ICMP6, 2, 0, 1280, router6)),
			ICMPError{Errno: unix.EMSGSIZE, Type: 2, MTU: 1280, From: router6}, true},
		{"local",
			control(extendedError(unix.SOL_IP, unix.IP_RECVERR, unix.EMSGSIZE, unix.SO_EE_ORIGIN_LOCAL, 0, 0, 1500, router)),
			ICMPError{Errno: unix.EMSGSIZE, MTU: 1500, Local: true}, true},
		{"another entry only", control(anInt(unix.SOL_IP, unix.IP_TTL, 3)), ICMPError{}, false},
		{"without its address",
			control(extendedError(unix.SOL_IP, unix.IP_RECVERR, unix.ECONNREFUSED, unix.SO_EE_ORIGIN_ICMP, 3, 3, 0, netip.Addr{})),
			ICMPError{Errno: unix.ECONNREFUSED, Type: 3, Code: 3}, true},
	} {
		got, ok := parseExtendedError(tc.in)
		if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || ok != tc.ok {
			t.Errorf("%s: ok %v\n%s", tc.name, ok, diff)
		}
	}
}

func FuzzExtendedError(f *testing.F) {
	f.Add(control(extendedError(unix.SOL_IP, unix.IP_RECVERR, unix.ECONNREFUSED, unix.SO_EE_ORIGIN_ICMP, 3, 3, 0, ip("198.51.100.1"))))
	f.Add(control(extendedError(unix.SOL_IPV6, unix.IPV6_RECVERR, unix.EMSGSIZE, unix.SO_EE_ORIGIN_ICMP6, 2, 0, 1280, ip("2001:db8::1"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseExtendedError(b)
		if !ok && e != (ICMPError{}) {
			t.Errorf("nothing found, but %+v", e)
		}
		if e.Local && e.From.IsValid() {
			t.Errorf("found out here, by %v", e.From)
		}
		if e.MTU != 0 && e.Errno != unix.EMSGSIZE {
			t.Errorf("MTU %d with %v", e.MTU, e.Errno)
		}
	})
}

const procUDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  123: 010200C0:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0000000000000000 0
  124: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31338 2 0000000000000000 0
  125: 020200C0:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31339 2 0000000000000000 0
  126: 010200C0:12B6 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31340 2 0000000000000000 0
`
const procUDP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 2000: 00000000000000000000000000000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41337 2 0000000000000000 0
 2001: B80D0120000000000000000001000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41338 2 0000000000000000 0
 2002: 0000000000000000FFFF0000010200C0:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41339 2 0000000000000000 0
`

func TestBoundInodes(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the tables here are those of a little-endian machine")
	}
	for _, tc := range []struct {
		table, local string
		want         []uint64
	}{
		{procUDP, "192.0.2.1", []uint64{31337, 31338}},
		{procUDP, "192.0.2.9", []uint64{31338}},
		{procUDP6, "2001:db8::1", []uint64{41337, 41338}},
		{procUDP6, "192.0.2.1", []uint64{41337, 41339}},
		{"", "192.0.2.1", nil},
		{"one two three", "192.0.2.1", nil},
	} {
		if diff := cmp.Diff(tc.want, boundInodes(strings.NewReader(tc.table), ip(tc.local), 4789)); diff != "" {
			t.Errorf("%s in\n%s%s", tc.local, tc.table, diff)
		}
	}
}

func FuzzBoundInodes(f *testing.F) {
	f.Add(procUDP)
	f.Add(procUDP6)
	f.Add("0: : 0 0 0 0 0 0 0 0")
	f.Fuzz(func(t *testing.T, table string) {
		for _, inode := range boundInodes(strings.NewReader(table), ip("192.0.2.1"), 4789) {
			if !strings.Contains(table, "12B5") && !strings.Contains(table, "12b5") && !strings.Contains(table, "12") {
				t.Errorf("inode %d without the port", inode)
			}
		}
	})
}
