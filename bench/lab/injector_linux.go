package lab

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Injector is a packet socket that sends frames out of an interface, each with its offload state. Closing one takes the kernel milliseconds: where many
// frames are injected one after the other, it is made once.
type Injector struct {
	host   *Host
	ifname string
	file   *os.File
	raw    syscall.RawConn
	to     unix.SockaddrLinklayer
	buf    []byte
}

// Injector opens a socket that sends out of ifname.
func (h *Host) Injector(ifname string) *Injector {
	h.lab.help()
	fd, index, err := h.packetSocket(ifname, 0)
	if err == nil {
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		h.lab.fatalf("host %s: injector on %s: %w", h.name, ifname, err)
	}
	i := &Injector{host: h, ifname: ifname, file: os.NewFile(uintptr(fd), "inject "+ifname), to: unix.SockaddrLinklayer{Ifindex: index}}
	if i.raw, err = i.file.SyscallConn(); err != nil {
		h.lab.fatalf("host %s: injector on %s: %w", h.name, ifname, err)
	}
	h.lab.own(i.file)
	return i
}

// Send sends one frame with its virtio-net header (struct virtio_net_hdr, host byte order; zeros for a plain, finished frame).
func (i *Injector) Send(header [vnetHeaderLen]byte, frame []byte) error {
	i.buf = append(append(i.buf[:0], header[:]...), frame...)
	var sendErr error
	err := i.raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), i.buf, 0, &i.to)
		return sendErr != unix.EAGAIN
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("host %s: inject into %s: %d bytes: %w", i.host.name, i.ifname, len(frame), err)
	}
	return nil
}
