package dataplane

import (
	"fmt"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// super is a superframe put into a port, of which every segment has size bytes of payload.
func super(port string, p encaptest.Packet, size uint16) action {
	f, off := p.Superframe(size)
	return action{name: fmt.Sprintf("%s superframe %+v of %d bytes", port, off, len(f)), where: port, frame: f, offload: off}
}

// stream is a TCP packet of n bytes of payload between two stations, or a UDP one.
func stream(src, dst int, n int, v6, udp bool) encaptest.Packet {
	p := encaptest.Packet{
		SrcMAC: host(src), DstMAC: host(dst), V6: v6, Proto: encap.ProtoTCP, Flags: encap.TCPAck, Seq: 1000, ID: 0xfffa, SrcPort: uint16(2000 + n),
		TCPOptions: encaptest.Timestamps(1, 2), TOS: 0x2e, TTL: 33, Payload: encaptest.Payload(n, uint64(n)),
	}
	if udp {
		p.Proto = encap.ProtoUDP
	}
	return p
}

// superframeCases are superframes in every direction: what arrives, cut as a network card would cut it, has to be the same segments.
var superframeCases = []crafted{
	{name: "superframes from ports", toPeers: 300, others: 500, frames: func(tw *twins) (list []action) {
		for i, n := range []int{1001, 2000, 3000, 14000, 14001, 60000} {
			for _, vni := range []uint32{42, 10, 11, 12, 13} {
				for _, dst := range []int{hostMember0, hostTrunk} {
					list = append(list, super(ownPort[vni], stream(hostOwn, dst, n, i&1 == 1, false), 1000))
				}
			}
			for _, dst := range []int{hostMember0, hostSecond} {
				list = append(list, super("p0", stream(hostOwn, dst, n, true, false), 1000), super("p0", stream(hostOwn, dst, n, false, false), 1000))
				list = append(list, super("p0", stream(hostOwn, dst, n, true, true), 1000), super("p0", stream(hostOwn, dst, n, false, true), 1000))
			}
		}
		return list
	}},
	{name: "superframes' flags", toPeers: 64, others: 64, frames: func(tw *twins) (list []action) {
		for flags := range 256 {
			if flags&(encap.TCPSyn|encap.TCPRst|encap.TCPUrg) != 0 {
				continue
			}
			p := stream(hostOwn, []int{hostMember0, hostTrunk}[flags>>4&1], 5000, flags&1 == 1, false)
			p.Flags, p.TOS = uint8(flags), uint8(flags>>2&3)
			list = append(list, super("q1", p, 1300))
		}
		return list
	}},
	{name: "tagged superframes", frames: func(tw *twins) (list []action) {
		for i, vid := range []uint16{0, 7, 10, 11, 12, 13, 30} {
			for _, dst := range []int{hostMember0, hostOwn} {
				for _, udp := range []bool{false, true} {
					a := super("tr", stream(hostTrunk, dst, 4000+i, i&1 == 1, udp), 1000)
					a.frame, a.offload = putTag(a.frame, encap.EtherTypeVLAN, vid|0xe000), a.offload.Shift(encap.VLANTagLen)
					list = append(list, a)
				}
			}
		}
		return list
	}},
	{name: "superframes to many", frames: func(tw *twins) (list []action) {
		for _, udp := range []bool{false, true} {
			for _, v6 := range []bool{false, true} {
				p := stream(hostOwn, hostNobody, 3500, v6, udp)
				list = append(list, super("p0", p, 1000))
				p.DstMAC = broadcast
				list = append(list, super("p0", p, 1000))
			}
		}
		return list
	}},
	{name: "superframes of large segments", frames: func(tw *twins) (list []action) {
		for size := uint16(1360); size <= 1434; size++ {
			dst := []int{hostMember0, hostTrunk}[size&1]
			list = append(list, super("q1", stream(hostOwn, dst, 2*int(size)+7, false, false), size), super("q1", stream(hostOwn, dst, 2*int(size)+7, true, false), size))
		}
		return list
	}},
	{name: "segments of one flow from a peer", others: 60, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 11} {
			for _, v6 := range []bool{false, true} {
				for i := range 20 {
					p := stream(hostMember0, hostOwn, 1000, v6, false)
					p.Seq, p.ID = p.Seq+1000*uint32(i), uint16(i)
					if p.Payload = encaptest.Payload(1000, uint64(i)); i == 19 {
						p.Flags, p.Payload = encap.TCPAck|encap.TCPPsh, p.Payload[:333]
					}
					list = append(list, tw.fromRemote(0, datagramOf(vni, p.Frame()), nil))
				}
			}
		}
		return list
	}},
}
