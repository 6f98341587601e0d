package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// networkOrder is htons: the calls take a protocol in network byte order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// optionError names the option that failed.
func optionError(name string, err error) error {
	return fmt.Errorf("setsockopt %s: %w", name, err)
}

// deaf is the classic filter that takes no frame: a socket has it until everything around it is ready.
var deaf = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}

// openSocket opens a packet socket that is bound to nothing yet, and takes nothing.
//
// PACKET_QDISC_BYPASS is left alone: on a veth, which has no queueing discipline, it gains nothing (1.6 us a small frame, 3.9 us a superframe with it and
// without), and on a network card it would go past the administrator's shaping and drop what the card has no room for at the moment.
func openSocket(buffer int) (fd int, err error) {
	// Protocol 0 receives nothing until bind(2) names the interface: no frame of another interface can be in front.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	filter := unix.SockFprog{Len: uint16(len(deaf)), Filter: &deaf[0]}
	if err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter); err != nil {
		return -1, optionError("SO_ATTACH_FILTER", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return -1, optionError("PACKET_AUXDATA", err)
	}
	for _, o := range []struct{ force, plain int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, buffer) != nil {
			// Without CAP_NET_ADMIN the system's limit holds; what overflows is counted.
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.plain, buffer)
		}
	}
	return fd, nil
}

// setVnetHdr asks for the virtio-net header in both directions (Linux 2.6.27).
func setVnetHdr(fd int, r Refuse) error {
	if r.VnetHdr {
		return optionError("PACKET_VNET_HDR", unix.ENOPROTOOPT)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return optionError("PACKET_VNET_HDR", err)
	}
	return nil
}

// knowsUSO says whether the kernel tells and takes superframes of UDP datagrams. They came with Linux 6.2 and there is no way to ask that leaves no
// frame behind; PACKET_VNET_HDR_SZ, which came with 6.6, can be asked for. Between the two the offload is there and not used.
func knowsUSO(fd int, r Refuse) bool { return since66(fd) && !r.USO }

func since66(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR_SZ)
	return err == nil
}

// ignoreOutgoing keeps what the host itself sends on the interface from the socket (Linux 4.20).
func ignoreOutgoing(fd int, r Refuse) error {
	if r.IgnoreOutgoing {
		return optionError("PACKET_IGNORE_OUTGOING", unix.ENOPROTOOPT)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return optionError("PACKET_IGNORE_OUTGOING", err)
	}
	return nil
}

// bindSocket binds to an interface, from which on frames would come.
func bindSocket(fd, ifindex int) error {
	err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: ifindex})
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// boundTo is the interface that the socket is bound to; ErrGone when it was deleted or left the namespace (packet_notifier sets -1 then).
func boundTo(fd int) (ifindex int, err error) {
	a, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("getsockname: %w", err)
	}
	l, ok := a.(*unix.SockaddrLinklayer)
	if !ok || l.Ifindex <= 0 {
		return 0, ErrGone
	}
	return l.Ifindex, nil
}

// PACKET_FANOUT takes the group in the low and mode and flags in the high half of an int (packet(7)).
const fanoutShift = 16

// newFanout makes a group with the socket in it, of a number that no other group has, and gives the number. Frames of a flow go to one member, in
// both directions of the flow the same (__skb_get_hash_symmetric). own: the group shows what the host itself sends, because the kernel does not know
// the flag against it (Linux 6.2; the option of the single sockets does not hold in a group). Kernels take flags that they do not know and say nothing, so
// that it is trusted where 6.6 can be told.
func newFanout(fd int, r Refuse) (group int, own bool, err error) {
	if r.Fanout {
		return 0, false, optionError("PACKET_FANOUT", unix.ENOPROTOOPT)
	}
	mode := unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_UNIQUEID
	if own = r.IgnoreOutgoing || !since66(fd); !own {
		mode |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, mode<<fanoutShift); err != nil {
		return 0, false, optionError("PACKET_FANOUT", err)
	}
	value, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return 0, false, fmt.Errorf("getsockopt PACKET_FANOUT: %w", err)
	}
	// The answer is the whole argument; the flag that asked for a number is not part of a group's identity.
	return value &^ (unix.PACKET_FANOUT_FLAG_UNIQUEID << fanoutShift), own, nil
}

// joinFanout puts another socket into a group.
func joinFanout(fd, group int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group); err != nil {
		return optionError("PACKET_FANOUT", err)
	}
	return nil
}

// listen lets frames in: the filter of openSocket goes.
func listen(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		return optionError("SO_DETACH_FILTER", err)
	}
	return nil
}

// promiscuous makes the interface take frames for any MAC, for as long as the socket is open.
func promiscuous(fd, ifindex int) error {
	request := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request); err != nil {
		return optionError("PACKET_ADD_MEMBERSHIP", err)
	}
	return nil
}

// lostFrames is how many frames the kernel threw away because the socket's buffer was full, since the last call.
func lostFrames(fd int) uint64 {
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return uint64(stats.Drops)
}

// socketNetNS opens the namespace that a socket was made in. The caller closes it.
func socketNetNS(fd int) (int, error) {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return -1, fmt.Errorf("SIOCGSKNS: %w", err)
	}
	return ns, nil
}

// setFilter is SO_ATTACH_BPF, which replaces what filter there is; -1 detaches.
func setFilter(fd, progFD int) error {
	if progFD < 0 {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_BPF, 0)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return optionError("SO_DETACH_BPF", err)
		}
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, progFD); err != nil {
		return optionError("SO_ATTACH_BPF", err)
	}
	return nil
}
