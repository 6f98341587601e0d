package underlay

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Segments that one UDP_SEGMENT message may carry: UDP_MAX_SEGMENTS of
// include/linux/udp.h.
const (
	segmentsOld = 64  // Linux 4.18 to 6.8
	segmentsNew = 128 // since Linux 6.9
)

// maxPayload4 and maxPayload6 bound the UDP payload of one GSO message, in
// bytes. The IP length field would allow 65507 and 65527; but a device whose
// gso_max_size is the usual 65536 counts its Ethernet header (and one VLAN tag)
// in, and takes the message apart in software when it is larger.
const (
	maxPayload4 = 65535 - 14 - 4 - 20 - 8
	maxPayload6 = 65535 - 14 - 4 - 40 - 8
)

// RunLength is how many datagrams of a size, VXLAN header included, leave as one
// message of UDP GSO; 1 without it.
func (s *Sockets) RunLength(size int) int {
	if !s.gso.Load() || size <= 0 {
		return 1
	}
	room := maxPayload4
	if s.is6 {
		room = maxPayload6
	}
	return max(1, min(room/size, int(s.maxSegments.Load())))
}

// probeGSO asks whether the kernel segments, and how many datagrams it takes in
// one message. The second cannot be asked, only tried: 128 datagrams of one
// byte go from the socket to itself, where its filter drops them. They reach
// the loopback device at most. A kernel before 6.9 answers EINVAL; when the
// message cannot leave for any other reason, the smaller figure is safe.
func probeGSO(fd int, local netip.Addr, port uint16) (segments int, err error) {
	if release := kernelRelease(); manglesEqualRuns(release) {
		return 0, fmt.Errorf("kernel %s damages equal-sized segments (mended in Linux 7.1.5)", release)
	}
	if _, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT); err != nil {
		return 0, fmt.Errorf("not in this kernel: %w", err)
	}
	var control [unix.SizeofCmsghdr + 8]byte
	putSegment(control[:], 1)
	var to unix.Sockaddr
	if local.Is4() {
		to = &unix.SockaddrInet4{Port: int(port), Addr: local.As4()}
	} else {
		scope, _ := scopeID(local)
		to = &unix.SockaddrInet6{Port: int(port), Addr: local.As16(), ZoneId: scope}
	}
	var ones [segmentsNew]byte
	_, err = unix.SendmsgN(fd, ones[:], control[:], to, unix.MSG_DONTWAIT)
	switch err {
	case nil, unix.EIO, unix.ENETDOWN:
		// EIO: loopback has no checksum offload or goes through IPsec, ENETDOWN:
		// loopback is down. Both come after the kernel counted the segments.
		return segmentsNew, nil
	}
	return segmentsOld, nil
}

// kernelRelease is the release that uname(2) tells, such as "6.18.44".
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// manglesEqualRuns tells the kernels from 7.0-rc1 to 7.1.4, which send broken
// UDP headers through some NICs when all segments of a message have one size, as
// those of a run mostly have. No probe can see that from here. Mended by Linux
// commits 78effd8 and 5f17ae0; drop this when no such kernel is supported.
func manglesEqualRuns(release string) bool {
	var major, minor, patch int
	n, _ := fmt.Sscanf(release, "%d.%d.%d", &major, &minor, &patch)
	if n < 2 || major != 7 {
		return false
	}
	return minor == 0 || minor == 1 && patch < 5
}
