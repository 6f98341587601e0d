package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// crafted is a kind of frames that the two paths have to treat alike, byte for byte and counter for counter.
type crafted struct {
	name   string
	step   bool // one by one, because one teaches what the next meets
	frames func(tw *twins) []action
	// The programs must carry so many of the frames at least: toPeers where they may send to peers at all, and others.
	toPeers, others uint64
}

// ipFrame is an IP frame between two stations, with a change.
func ipFrame(src, dst uint64, change func(*encaptest.Packet)) []byte {
	p := encaptest.Packet{SrcMAC: src, DstMAC: dst, Proto: encap.ProtoUDP, SrcPort: 1000, DstPort: 2000, Payload: encaptest.Payload(48, src^dst)}
	if change != nil {
		change(&p)
	}
	return p.Frame()
}

// out and in are a frame from a VNI's own station to the first member's, and back; across is one to the station behind the trunk.
func out(vni uint32, change func(*encaptest.Packet)) action {
	return fromPort(ownPort[vni], ipFrame(host(hostOwn), host(hostMember0), change))
}

func across(vni uint32, change func(*encaptest.Packet)) action {
	return fromPort(ownPort[vni], ipFrame(host(hostOwn), host(hostTrunk), change))
}

func (tw *twins) in(vni uint32, change func(*encaptest.Packet)) action {
	return tw.fromRemote(0, datagramOf(vni, ipFrame(host(hostMember0), host(hostOwn), change)), nil)
}

// ways are a frame in every direction: to a peer, to a port and from a peer.
func (tw *twins) ways(vni uint32, change func(*encaptest.Packet)) []action {
	return []action{out(vni, change), across(vni, change), tw.in(vni, change)}
}

// patched is a frame with some bytes changed.
func patched(frame []byte, change func(f []byte)) []byte {
	frame = slices.Clone(frame)
	change(frame)
	return frame
}

// raw puts a frame that is no IP packet, or no longer a right one, on its three ways.
func (tw *twins) raw(vni uint32, frame []byte) []action {
	address := func(src, dst int) []byte {
		return patched(frame, func(f []byte) { encap.Ethernet(f).SetSrc(host(src)); encap.Ethernet(f).SetDst(host(dst)) })
	}
	return []action{
		fromPort(ownPort[vni], address(hostOwn, hostMember0)),
		fromPort(ownPort[vni], address(hostOwn, hostTrunk)),
		tw.fromRemote(0, datagramOf(vni, address(hostMember0, hostOwn)), nil),
	}
}

// extension is an IPv6 extension header of 8 bytes and a multiple.
func extension(proto uint8, more int) encaptest.Extension {
	body := make([]byte, 8+8*more)
	body[1] = byte(more)
	if proto != encap.ProtoFragment && len(body) > 4 {
		body[2], body[3] = 1, byte(len(body)-4) // PadN, RFC 8200 section 4.2
	}
	return encaptest.Extension{Proto: proto, Body: body}
}

// craftedCases are frames of every kind that RFCs or experience name.
var craftedCases = []crafted{
	{name: "outer TTL of what comes in", others: 255, frames: func(tw *twins) (list []action) {
		for ttl := range 255 {
			list = append(list, tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.TTL = uint8(ttl + 1) }))
		}
		return list
	}},
	{name: "inner TTL", toPeers: 4 * 18, others: 4 * 2 * 18, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 10, 11, 12} {
			for _, ttl := range []uint8{0, 1, 2, 7, 63, 64, 65, 128, 255} {
				for _, v6 := range []bool{false, true} {
					f := ipFrame(host(1), host(4), func(p *encaptest.Packet) { p.V6 = v6 })
					list = append(list, tw.raw(vni, patched(f, func(f []byte) {
						if v6 {
							f[encap.EthernetLen+7] = ttl
						} else {
							f[encap.EthernetLen+8] = ttl
						}
					}))...)
				}
			}
		}
		return list
	}},
	{name: "ECN on the way in, RFC 6040 section 4.2", others: 4 * 2 * 15, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 10, 11, 12} {
			for i := range 32 {
				inner, outer, v6 := uint8(i&3), uint8(i>>2&3), i>>4 == 1
				f := ipFrame(host(hostMember0), host(hostOwn), func(p *encaptest.Packet) { p.TOS, p.V6 = 0xa8|inner, v6 })
				list = append(list, tw.fromRemote(0, datagramOf(vni, f), func(p *encaptest.Packet) { p.TOS = 0x50 | outer }))
			}
		}
		return list
	}},
	{name: "inner TOS", toPeers: 256 * 2, frames: func(tw *twins) (list []action) {
		for tos := range 256 {
			for i, vni := range []uint32{42, 10, 11, 12} {
				if (tos^i)&1 == 0 {
					list = append(list, out(vni, func(p *encaptest.Packet) { p.TOS, p.V6 = uint8(tos), tos>>1&1 == 1 }))
				}
			}
		}
		return list
	}},
	{name: "outer TOS", others: 480, frames: func(tw *twins) (list []action) {
		for tos := range 512 {
			f := ipFrame(host(hostMember0), host(hostOwn), func(p *encaptest.Packet) { p.TOS, p.V6 = uint8(tos>>2), tos>>8 == 1 })
			if tos&3 == 3 && tos>>2&3 == 0 {
				continue // the drop is counted elsewhere
			}
			list = append(list, tw.fromRemote(0, datagramOf(42, f), func(p *encaptest.Packet) { p.TOS = uint8(tos) }))
		}
		return list
	}},
	{name: "VXLAN header bits", others: 40 + 2, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 10} {
			for bit := range 64 {
				d := datagramOf(vni, ipFrame(host(hostMember0), host(hostOwn), nil))
				d[bit/8] ^= 0x80 >> (bit % 8)
				list = append(list, tw.fromRemote(0, d, nil))
			}
		}
		return list
	}},
	{name: "who sends", others: 2 + 2 + 1, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 12} {
			for r := range 3 {
				src := []int{hostMember0, hostMember1, hostStranger}[r]
				list = append(list, tw.fromRemote(r, datagramOf(vni, ipFrame(host(src), host(hostOwn), nil)), nil))
			}
		}
		return append(list,
			tw.fromRemote(0, datagramOf(99, ipFrame(host(hostMember0), host(hostOwn), nil)), nil),
			tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.DstPort = 8472 }),
			tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.Dst = p.Src }),
			tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.Src = p.Dst }),
			tw.fromRemote(0, datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil)), func(p *encaptest.Packet) { p.DstMAC = broadcast }),
		)
	}},
	{name: "short datagrams", others: 80 - 42 + 80 - 62, frames: func(tw *twins) (list []action) {
		for _, v6 := range []bool{false, true} {
			d := datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), func(p *encaptest.Packet) { p.V6 = v6 }))
			for n := range 80 {
				list = append(list, tw.fromRemote(0, d[:n], nil))
			}
		}
		return list
	}},
	{name: "outer packet: checksums, options, fragments, lengths", others: 3, frames: outerOddities},
	{name: "tags", toPeers: 40, others: 48, frames: func(tw *twins) (list []action) {
		for _, port := range tw.names {
			for _, dst := range []int{hostMember0, hostTrunk, hostOwn} {
				for _, src := range []int{hostOwn, hostTrunk} {
					if (src == hostTrunk) != (port == "tr") || port == "p1" {
						continue
					}
					for _, tci := range []uint16{0, 7, 10, 11, 12, 13, 30, 4095} {
						f := ipFrame(host(src), host(dst), nil)
						list = append(list, fromPort(port, f), fromPort(port, putTag(f, encap.EtherTypeVLAN, tci|0xb000)),
							fromPort(port, putTag(f, encap.EtherTypeQinQ, tci)), fromPort(port, putTag(putTag(f, encap.EtherTypeVLAN, 10), encap.EtherTypeVLAN, tci)),
							fromPort(port, putTag(putTag(f, encap.EtherTypeVLAN, 10), encap.EtherTypeQinQ, tci)))
					}
				}
			}
		}
		for _, vni := range []uint32{42, 13} {
			for _, tci := range []uint16{0, 0xa000, 7, 13, 30} {
				f := ipFrame(host(hostMember0), host(hostOwn), nil)
				list = append(list, tw.fromRemote(0, datagramOf(vni, putTag(f, encap.EtherTypeVLAN, tci)), nil),
					tw.fromRemote(0, datagramOf(vni, putTag(f, encap.EtherTypeQinQ, tci)), nil),
					tw.fromRemote(0, datagramOf(vni, putTag(putTag(f, encap.EtherTypeVLAN, 5), encap.EtherTypeVLAN, tci)), nil),
					tw.fromRemote(0, datagramOf(vni, putTag(f, encap.EtherTypeVLAN, tci)[:16]), nil))
			}
		}
		return list
	}},
	{name: "inner fragments and IPv4 options", toPeers: 2 * 6, others: 2 * 2 * 6, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 11} {
			for _, change := range []func(*encaptest.Packet){
				func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments },
				func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments | 100 },
				func(p *encaptest.Packet) { p.Fragment = 200 },
				func(p *encaptest.Packet) { p.Fragment = 0x8000 | encap.IPv4DontFragment },
				func(p *encaptest.Packet) { p.Options = []byte{1, 1, 1, 0} },
				func(p *encaptest.Packet) { p.Options, p.Proto = slices.Repeat([]byte{1}, 40), encap.ProtoTCP },
			} {
				list = append(list, tw.ways(vni, change)...)
			}
		}
		return list
	}},
	{name: "inner IPv6 extension headers", toPeers: 2 + 9, others: 2 * (2 + 9), frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 11} {
			for _, proto := range []uint8{0, 43, 44, 60, 135, 139, 140, 253, 254} {
				list = append(list, tw.ways(vni, func(p *encaptest.Packet) { p.V6, p.Extensions = true, []encaptest.Extension{extension(proto, 0)} })...)
			}
		}
		return list
	}},
	{name: "addresses", toPeers: 6, others: 13, frames: func(tw *twins) (list []action) {
		for i, dst := range []uint64{broadcast, 0x0180c2000000, 0x0180c200000e, 0x0180c2000010, 0x01005e000001, 0x333300000001, 0, host(hostNobody), host(hostOwn), host(hostSecond), host(8), host(hostMember0), host(hostMember1), host(hostTrunk)} {
			for j, src := range []uint64{0, 0x01005e000001, broadcast, 0} {
				local, remote := src, src
				if j == 3 {
					local, remote = host(hostOwn), host(hostMember0)
				}
				for _, vni := range []uint32{42, 11, 12} {
					change := func(p *encaptest.Packet) { p.V6 = i&1 == 1 }
					patch := func(f []byte, src uint64) []byte {
						return patched(f, func(f []byte) { encap.Ethernet(f).SetSrc(src); encap.Ethernet(f).SetDst(dst) })
					}
					f := ipFrame(1, 2, change)
					list = append(list, fromPort(ownPort[vni], patch(f, local)), tw.fromRemote(0, datagramOf(vni, patch(f, remote)), nil))
				}
			}
		}
		return list
	}},
	{name: "smallest frames", toPeers: 38, others: 2 * 38, frames: func(tw *twins) (list []action) {
		for _, et := range []uint16{encap.EtherTypeIPv4, encap.EtherTypeIPv6, encap.EtherTypeARP, 0x88cc, 46} {
			f := ipFrame(1, 2, func(p *encaptest.Packet) { p.V6 = et == encap.EtherTypeIPv6 })
			binary.BigEndian.PutUint16(f[12:], et)
			for n := encap.EthernetLen; n <= 62; n++ {
				list = append(list, tw.raw(42, f[:n])...)
			}
		}
		return list
	}},
	{name: "trailing bytes", toPeers: 8, others: 16, frames: func(tw *twins) (list []action) {
		for _, v6 := range []bool{false, true} {
			for _, pad := range []int{60, 110, 111, 200} {
				list = append(list, tw.ways(42, func(p *encaptest.Packet) { p.V6, p.Pad, p.Payload = v6, pad, nil })...)
			}
		}
		return list
	}},
	{name: "lengths that contradict", toPeers: 35, others: 2 * 35, frames: func(tw *twins) (list []action) {
		for _, n := range []uint16{0, 1, 19, 20, 21, 28, 40, 75, 76, 77, 1500, 65535} {
			list = append(list, tw.raw(42, patched(ipFrame(1, 2, nil), func(f []byte) { binary.BigEndian.PutUint16(f[16:], n) }))...)
			list = append(list, tw.raw(42, patched(ipFrame(1, 2, func(p *encaptest.Packet) { p.V6 = true }), func(f []byte) { binary.BigEndian.PutUint16(f[18:], n) }))...)
		}
		for b := range 256 {
			list = append(list, tw.raw(42, patched(ipFrame(1, 2, nil), func(f []byte) { f[14] = byte(b) }))...)
		}
		return list
	}},
	{name: "protocols", toPeers: 500, others: 1000, frames: func(tw *twins) (list []action) {
		for proto := range 256 {
			vni := []uint32{42, 11, 12}[proto%3]
			list = append(list, tw.raw(vni, patched(ipFrame(1, 2, nil), func(f []byte) { f[23] = byte(proto) }))...)
			list = append(list, tw.raw(vni, patched(ipFrame(1, 2, func(p *encaptest.Packet) { p.V6 = true }), func(f []byte) { f[20] = byte(proto) }))...)
		}
		return list
	}},
	{name: "TCP flags", toPeers: 64 + 128, others: 2 * (64 + 128), frames: func(tw *twins) (list []action) {
		for flags := range 256 {
			vni := []uint32{42, 11}[flags>>4&1]
			list = append(list, tw.ways(vni, func(p *encaptest.Packet) {
				p.Proto, p.Flags, p.V6, p.TCPOptions = encap.ProtoTCP, uint8(flags), flags&4 != 0, []byte{2, 4, 0x05, 0xb4}
			})...)
		}
		return list
	}},
	{name: "MSS of connections", toPeers: 200, others: 400, frames: func(tw *twins) (list []action) {
		stamps := []byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 0}
		for i, mss := range []uint16{0, 63, 64, 536, 1200, 1340, 1350, 1360, 1370, 1380, 1390, 1400, 1405, 1410, 1411, 1440, 1460, 8960, 65495, 65535} {
			option := binary.BigEndian.AppendUint16([]byte{2, 4}, mss)
			for j, options := range [][]byte{
				option,
				slices.Concat(option, []byte{4, 2}, stamps, []byte{1, 3, 3, 7}),
				slices.Concat(option, []byte{1, 3, 3, 8, 1, 1, 4, 2}),
				slices.Concat([]byte{1}, option, []byte{1, 1, 1}),
				slices.Concat([]byte{2, 4, 2, 24}, option),
				slices.Concat(option, []byte{2, 4, 0xff, 0xff}),
				slices.Concat([]byte{0, 0, 0, 0}, option),
				slices.Concat(option, []byte{29, 4, 0, 0}),
				slices.Concat([]byte{8, 0, 0, 0}, option),
				slices.Concat([]byte{8, 30, 0, 0}, option),
			} {
				for _, vni := range []uint32{42, 11, 12} {
					list = append(list, tw.ways(vni, func(p *encaptest.Packet) {
						p.Proto, p.Flags, p.V6, p.TCPOptions, p.Payload = encap.ProtoTCP, []uint8{encap.TCPSyn, encap.TCPSyn | encap.TCPAck}[j&1], (i+j)&1 == 1, options, nil
					})...)
				}
			}
		}
		return list
	}},
	{name: "forged VXLAN", toPeers: 7, others: 33, frames: func(tw *twins) (list []action) {
		s := tw.pair[0]
		for _, vni := range []uint32{42, 12} {
			for _, port := range []uint16{4789, 4788, 8472} {
				for _, fragment := range []uint16{0, encap.IPv4MoreFragments, 20} {
					list = append(list, tw.ways(vni, func(p *encaptest.Packet) {
						p.DstPort, p.Fragment, p.V6 = port, fragment, tw.v6
						p.Src, p.Dst = s.config.Local, s.remotes[0].addr
					})...)
				}
			}
		}
		return list
	}},
	{name: "VXLAN to VTEPs, and between stations", toPeers: 3 + 2, others: 3 + 2 + 2*4, frames: func(tw *twins) (list []action) {
		s := tw.pair[0]
		station := netip.MustParseAddr("198.51.100.9")
		if tw.v6 {
			station = netip.MustParseAddr("2001:db8:1::9")
		}
		for _, to := range []netip.Addr{s.config.Local, s.remotes[0].addr, s.remotes[1].addr, station} {
			for _, port := range []uint16{4789, 4788} {
				list = append(list, tw.ways(12, func(p *encaptest.Packet) {
					p.DstPort, p.V6, p.Src, p.Dst = port, tw.v6, s.config.Local, to
				})...)
			}
		}
		return list
	}},
	{name: "bad checksums inside", toPeers: 6, others: 12, frames: func(tw *twins) (list []action) {
		for i := range 6 {
			list = append(list, tw.ways(42, func(p *encaptest.Packet) {
				p.V6, p.Proto = i&1 == 1, []uint8{encap.ProtoUDP, encap.ProtoTCP, encap.ProtoUDP}[i/2]
				p.BadChecksum, p.NoChecksum, p.BadIPChecksum = i/2 < 2, i/2 == 2, i == 0
			})...)
		}
		return list
	}},
	{name: "checksums left to us", toPeers: 4 * 2, others: 4 * 2, frames: func(tw *twins) (list []action) {
		for _, vni := range []uint32{42, 11} {
			for i := range 4 {
				for _, dst := range []int{hostMember0, hostTrunk} {
					f, off := encaptest.Packet{
						SrcMAC: host(hostOwn), DstMAC: host(dst), V6: i&1 == 1, Proto: []uint8{encap.ProtoUDP, encap.ProtoTCP}[i/2], Flags: encap.TCPAck,
						Payload: encaptest.Payload(333, uint64(i)),
					}.Superframe(0)
					a := fromPort(ownPort[vni], f)
					a.offload = off
					list = append(list, a)
				}
			}
		}
		return list
	}},
	{name: "sizes", toPeers: 30, others: 110, frames: func(tw *twins) (list []action) {
		limit := 1464 // what fits in 1500 bytes of underlay with 50 of headers
		if tw.v6 {
			limit = 1444
		}
		for n := limit - 30; n <= limit+30; n++ {
			change := func(p *encaptest.Packet) { p.Payload = encaptest.Payload(n-42, uint64(n)) }
			list = append(list, out(11, change), across(11, change))
			if n <= limit {
				list = append(append(list, tw.in(11, change)), tw.ways(42, change)...)
			}
		}
		return list
	}},
	{name: "who moves", toPeers: 3, others: 7, step: true, frames: func(tw *twins) (list []action) {
		at := func(port string, src, dst int) action { return fromPort(port, ipFrame(host(src), host(dst), nil)) }
		from := func(r int, vni uint32, src, dst int) action {
			return tw.fromRemote(r, datagramOf(vni, ipFrame(host(src), host(dst), nil)), nil)
		}
		return []action{
			at("p0", hostOwn, hostSecond), at("p1", hostOwn, hostSecond), from(0, 42, hostMember0, hostOwn), at("p0", hostOwn, hostSecond), from(0, 42, hostMember0, hostOwn),
			from(1, 42, hostMember0, hostOwn), at("p0", hostOwn, hostMember0), from(0, 42, hostMember0, hostOwn), at("p0", hostOwn, hostMember0),
			at("p0", hostMember0, hostSecond), at("p1", hostSecond, hostMember0), from(0, 42, hostMember0, hostSecond), at("p1", hostSecond, hostMember0),
			at("p0", 8, hostSecond), from(0, 42, 8, hostSecond), at("q1", hostMember0, hostTrunk), from(1, 11, hostMember0, hostOwn), from(0, 11, hostNobody, hostOwn),
			at("q1", hostOwn, hostNobody), from(0, 11, hostOwn, hostTrunk), from(0, 42, hostMember0, hostMember1), at("p0", 14, hostMember1), from(1, 42, hostMember1, 14),
		}
	}},
}
