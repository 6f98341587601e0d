package tap

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

const tunPath = "/dev/net/tun"

// rung is one step of the negotiation: what TUNSETOFFLOAD is asked for.
type rung struct {
	mask int
	lost string // why the rung above it was left
}

// The ladder from the top. Every rung is there for a kernel that refuses the one
// above; TUNSETOFFLOAD refuses a mask as a whole when it does not know a bit.
var ladder = []rung{
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6, ""},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN, "no UDP segmentation offload (needs Linux 6.2)"},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6, "no offload of TCP segments with ECN"},
	{unix.TUN_F_CSUM, "no segmentation offload"},
}

// openTun opens the clone device. The result is not attached yet.
func openTun() (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
		return -1, fmt.Errorf("tap: open %s: %w: is the tun driver there (modprobe tun)?", tunPath, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("tap: open %s: %w: run as root or give access to the file", tunPath, err)
	}
	return -1, fmt.Errorf("tap: open %s: %w", tunPath, err)
}

// attach is TUNSETIFF: it makes fd a queue of the named device, and makes the
// device when there is none.
func attach(fd int, name string, flags uint16, r Refuse) error {
	if r.VnetHdr && flags&unix.IFF_VNET_HDR != 0 || r.MultiQueue && flags&unix.IFF_MULTI_QUEUE != 0 {
		return unix.EINVAL
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
}

// withHeader says whether the kernel looks for a virtio-net header in front of each
// frame, whatever was asked for: a device keeps its form while it has a queue (tun_set_iff,
// drivers/net/tun.c), and one that was closed lives on in a process that was being started, until its exec.
func withHeader(fd int) bool {
	ifr, err := unix.NewIfreq("")
	return err == nil && unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr) == nil && ifr.Uint16()&unix.IFF_VNET_HDR != 0
}

// attachedName is TUNGETIFF: the present name of the device, in whatever
// namespace it is.
func attachedName(fd int) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		if err == unix.EBADFD {
			return "", ErrGone
		}
		return "", fmt.Errorf("TUNGETIFF: %w", err)
	}
	return ifr.Name(), nil
}

// deviceNetNS is TUNGETDEVNETNS: a descriptor of the namespace that the device is
// in now. (SIOCGSKNS would give that of the descriptor, where the device was
// made.) The caller closes it.
func deviceNetNS(fd int) (int, error) {
	ns, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
	if err == unix.EBADFD {
		return -1, ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("TUNGETDEVNETNS: %w", err)
	}
	return ns, nil
}

// resetHeader undoes what an earlier owner of a persistent device may have set:
// these survive in the device (QEMU uses a 12-byte header and its own order).
func resetHeader(fd int) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, encap.OffloadLen); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ %d: %w", encap.OffloadLen, err)
	}
	// Where the kernel does not know these, it has only host order: good.
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 0)
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETBE, 0)
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, math.MaxInt32); err != nil {
		return fmt.Errorf("TUNSETSNDBUF: %w", err)
	}
	return nil
}

// setOffload is TUNSETOFFLOAD. The mask belongs to the device, not the queue.
func setOffload(fd, mask int, r Refuse) error {
	if r.Checksum && mask&unix.TUN_F_CSUM != 0 ||
		r.TSO && mask&(unix.TUN_F_TSO4|unix.TUN_F_TSO6) != 0 ||
		r.ECN && mask&unix.TUN_F_TSO_ECN != 0 ||
		r.USO && mask&(unix.TUN_F_USO4|unix.TUN_F_USO6) != 0 {
		return unix.EINVAL
	}
	return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, mask)
}

// climbDown tries the rungs until one holds. An error means that not even
// checksums are to be had.
func climbDown(fd int, r Refuse) (mask int, reason string, err error) {
	for _, step := range ladder {
		if step.lost != "" {
			reason = step.lost
		}
		if err = setOffload(fd, step.mask, r); err == nil {
			return step.mask, reason, nil
		}
	}
	return 0, "", fmt.Errorf("TUNSETOFFLOAD: no checksum offload: %w", err)
}

func capsOf(mask int) Caps {
	return Caps{
		VnetHdr: true,
		TSO4:    mask&unix.TUN_F_TSO4 != 0,
		TSO6:    mask&unix.TUN_F_TSO6 != 0,
		ECN:     mask&unix.TUN_F_TSO_ECN != 0,
		USO:     mask&unix.TUN_F_USO4 != 0,
	}
}

// probeSuperframe asks whether the kernel takes superframes at all. Kernels of
// the 6.6.44 era refuse correct ones with EINVAL (Linux e269d79c7d35, mended by
// 89add40066f9).
//
// The interface must be down. tun_get_user then checks the virtio-net header,
// and only after that drops the frame with EIO: nothing reaches the stack. The
// drop shows as one rx_dropped of the new interface.
func probeSuperframe(fd int, r Refuse) error {
	if r.GSOWrite {
		return unix.EINVAL
	}
	const ethernet, ip, tcp, segment = 14, 20, 20, 100
	var b [encap.OffloadLen + ethernet + ip + tcp + 2*segment]byte
	encap.Offload{
		Flags: encap.FlagNeedsCsum, GSOType: encap.GSOTCPv4, GSOSize: segment,
		HdrLen: ethernet + ip + tcp, CsumStart: ethernet + ip, CsumOffset: 16,
	}.Encode(b[:])
	frame := b[encap.OffloadLen:]
	copy(frame, []byte{
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, // between local MACs
		0x45, 0, byte((ip + tcp + 2*segment) >> 8), byte((ip + tcp + 2*segment) & 0xff),
		0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0,
		192, 0, 2, 1, 192, 0, 2, 2,
		0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, // discard to discard, ACK
	})
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b)), uintptr(len(b)))
	if errno == unix.EINVAL {
		return errno
	}
	return nil
}
