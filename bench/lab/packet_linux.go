package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sniffBuffer is the receive buffer of a sniffer in bytes, some 20 000 full frames: a test that looks late loses nothing.
	sniffBuffer = 32 << 20
	// maxFrame holds the largest superframe (64 KiB of IP) with Ethernet header and two tags, in bytes.
	maxFrame = 65536 + 14 + 8
	// vnetHeaderLen is sizeof(struct virtio_net_hdr) in bytes, which PACKET_VNET_HDR puts in front of a frame.
	vnetHeaderLen = 10
	// auxdataLen is sizeof(struct tpacket_auxdata) in bytes.
	auxdataLen = 20
)

// Frame is one Ethernet frame off a wire.
type Frame struct {
	Data []byte // the receiver's own; an 802.1Q tag the kernel had taken off is back in its place
	// ChecksumUnfinished: the sender left the L4 checksum to hardware that a veth pair does not have; the field holds a pseudo-header sum.
	ChecksumUnfinished bool
	// Offload is the frame's virtio-net header (struct virtio_net_hdr, host byte order), of SniffOffload only. An offset in it counts the tag that was put back.
	Offload [vnetHeaderLen]byte
}

// Sniffer is a packet socket that sees every frame an interface receives, from the moment it was made.
type Sniffer struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte
	vnet bool // a virtio-net header is in front of every frame
}

// Sniff looks at the frames ifname receives, in promiscuous mode. Frames the host itself sends are not shown: they are sniffed at the other end.
func (h *Host) Sniff(ifname string) *Sniffer {
	h.lab.help()
	return h.sniffer(ifname, false)
}

// SniffOffload is Sniff with the offload state of every frame: what a superframe is to be cut into, and whether a checksum is unfinished.
func (h *Host) SniffOffload(ifname string) *Sniffer {
	h.lab.help()
	return h.sniffer(ifname, true)
}

func (h *Host) sniffer(ifname string, vnet bool) *Sniffer {
	h.lab.help()
	s, err := h.sniff(ifname, vnet)
	if err != nil {
		h.lab.fatalf("host %s: sniff %s: %w", h.name, ifname, err)
	}
	h.lab.own(s)
	return s
}

func (h *Host) sniff(ifname string, vnet bool) (*Sniffer, error) {
	// Protocol 0 receives nothing until bind names the interface: no frame of another interface can be in front.
	fd, index, err := h.packetSocket(ifname, 0)
	if err != nil {
		return nil, err
	}
	for _, option := range [][2]int{{unix.PACKET_IGNORE_OUTGOING, 1}, {unix.PACKET_AUXDATA, 1}} {
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, option[0], option[1]); err != nil {
			break
		}
	}
	if err == nil && vnet {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, sniffBuffer)
	}
	if err == nil {
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &Sniffer{file: os.NewFile(uintptr(fd), "sniff "+ifname), buf: make([]byte, vnetHeaderLen+maxFrame), vnet: vnet}
	s.raw, err = s.file.SyscallConn()
	return s, err
}

// packetSocket opens a non-blocking AF_PACKET socket in the namespace and finds the interface's index.
func (h *Host) packetSocket(ifname string, protocol uint16) (fd, index int, err error) {
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		return 0, 0, err
	}
	err = h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(networkOrder(protocol)))
		return err
	})
	return fd, link.Attrs().Index, err
}

// networkOrder is htons: the packet socket calls take a protocol in network byte order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// Next waits for the next frame, at most timeout; ok is false when none came.
func (s *Sniffer) Next(timeout time.Duration) (f Frame, ok bool) {
	if err := s.file.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return Frame{}, false
	}
	var oob [128]byte
	var n, oobn int
	var callErr error
	err := s.raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, callErr = unix.Recvmsg(int(fd), s.buf, oob[:], 0)
		return callErr != unix.EAGAIN && callErr != unix.EINTR
	})
	if err != nil || callErr != nil {
		return Frame{}, false
	}
	return s.decode(n, oob[:oobn])
}

// Waiting is the next frame that is there already.
func (s *Sniffer) Waiting() (f Frame, ok bool) {
	var oob [128]byte
	var n, oobn int
	var callErr error
	err := s.raw.Control(func(fd uintptr) { n, oobn, _, _, callErr = unix.Recvmsg(int(fd), s.buf, oob[:], unix.MSG_DONTWAIT) })
	if err != nil || callErr != nil {
		return Frame{}, false
	}
	return s.decode(n, oob[:oobn])
}

// decode makes a Frame of what the socket gave.
func (s *Sniffer) decode(n int, oob []byte) (f Frame, ok bool) {
	if !s.vnet {
		return decodeFrame(s.buf[:n], oob), true
	}
	if n < vnetHeaderLen {
		return Frame{}, false
	}
	f = decodeFrame(s.buf[vnetHeaderLen:n], oob)
	copy(f.Offload[:], s.buf)
	if start := binary.NativeEndian.Uint16(f.Offload[6:]); start != 0 {
		binary.NativeEndian.PutUint16(f.Offload[6:], start+uint16(len(f.Data)-(n-vnetHeaderLen)))
	}
	return f, true
}

// decodeFrame copies a frame and puts back the tag that the kernel delivers beside it (struct tpacket_auxdata, linux/if_packet.h):
//
//	 0          4          8          12        14        16         18         20
//	+----------+----------+----------+---------+---------+----------+----------+
//	|  status  |  length  | captured |   mac   |   net   | vlan tci |vlan tpid |   host byte order
//	+----------+----------+----------+---------+---------+----------+----------+
func decodeFrame(data, oob []byte) Frame {
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := 0; err == nil && i < len(messages); i++ {
		m := messages[i]
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < auxdataLen {
			continue
		}
		status := binary.NativeEndian.Uint32(m.Data)
		f := Frame{ChecksumUnfinished: status&unix.TP_STATUS_CSUMNOTREADY != 0}
		if status&unix.TP_STATUS_VLAN_VALID == 0 || len(data) < 12 {
			f.Data = append(f.Data, data...)
			return f
		}
		tpid := uint16(unix.ETH_P_8021Q)
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = binary.NativeEndian.Uint16(m.Data[18:])
		}
		f.Data = append(f.Data, data[:12]...)
		f.Data = binary.BigEndian.AppendUint16(f.Data, tpid)
		f.Data = binary.BigEndian.AppendUint16(f.Data, binary.NativeEndian.Uint16(m.Data[16:]))
		f.Data = append(f.Data, data[12:]...)
		return f
	}
	return Frame{Data: append([]byte(nil), data...)}
}

// Until drops frames until one matches, at most for timeout.
func (s *Sniffer) Until(timeout time.Duration, match func(frame []byte) bool) (f Frame, ok bool) {
	for end := time.Now().Add(timeout); ; {
		f, ok = s.Next(time.Until(end))
		if !ok || match(f.Data) {
			return f, ok
		}
	}
}

// Collect gathers every frame that arrives within d, also where it was not let run for so long.
func (s *Sniffer) Collect(d time.Duration) (frames []Frame) {
	for end := time.Now().Add(d); ; {
		f, ok := s.Next(time.Until(end))
		if !ok {
			break
		}
		frames = append(frames, f)
	}
	for range collectMost {
		f, ok := s.Waiting()
		if !ok {
			break
		}
		frames = append(frames, f)
	}
	return frames
}

// collectMost bounds what Collect still takes when the time is over: a stream may go on.
const collectMost = 1 << 16

// Lost is how many frames the socket's buffer had no room for since the last call: what Collect did not see.
func (s *Sniffer) Lost() (frames uint32, err error) {
	controlErr := s.raw.Control(func(fd uintptr) {
		var stats *unix.TpacketStats
		if stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			frames = stats.Drops
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return frames, err
}

// Close ends the sniffer; the lab does it too.
func (s *Sniffer) Close() error { return s.file.Close() }

// Inject sends frames out of ifname as they are, in order: the other end of a veth receives them; whoever reads a TAP device gets them.
func (h *Host) Inject(ifname string, frames ...[]byte) {
	h.lab.help()
	if err := h.inject(ifname, false, frames); err != nil {
		h.lab.fatalf("host %s: inject into %s: %w", h.name, ifname, err)
	}
}

// InjectSuperframe sends one frame out of ifname with a virtio-net header (struct virtio_net_hdr, 10 bytes, host byte order) that tells the kernel its
// offload state.
func (h *Host) InjectSuperframe(ifname string, header [vnetHeaderLen]byte, frame []byte) {
	h.lab.help()
	if err := h.inject(ifname, true, [][]byte{append(header[:], frame...)}); err != nil {
		h.lab.fatalf("host %s: inject superframe into %s: %w", h.name, ifname, err)
	}
}

func (h *Host) inject(ifname string, vnet bool, frames [][]byte) error {
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		return err
	}
	fd, err := h.outlet(vnet)
	if err != nil {
		return err
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}
	for i, frame := range frames {
		if err := unix.Sendto(fd, frame, 0, to); err != nil {
			return fmt.Errorf("frame %d of %d bytes: %w", i, len(frame), err)
		}
	}
	return nil
}

// outletBuffer in bytes is for frames that wait in the queue of an interface: nothing is to wait for them here.
const outletBuffer = 64 << 20

// outlet is the packet socket that frames are injected by, with virtio-net headers or without. The lab keeps it: the kernel takes 12 ms to close one
// (packet_release waits for all that may still see it).
func (h *Host) outlet(vnet bool) (fd int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := &h.outlets[0]
	if vnet {
		kept = &h.outlets[1]
	}
	if *kept != nil {
		return int((*kept).Fd()), nil
	}
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		return 0, err
	}
	file := os.NewFile(uintptr(fd), "frames into "+h.name)
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, outletBuffer)
	if err == nil && vnet {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	}
	if err != nil {
		file.Close()
		return 0, err
	}
	h.lab.own(file)
	*kept = file
	return fd, nil
}
