package dataplane

import (
	"encoding/binary"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// outerOddities are datagrams whose outer headers are not plain.
func outerOddities(tw *twins) (list []action) {
	d := datagramOf(42, ipFrame(host(hostMember0), host(hostOwn), nil))
	add := func(change func(*encaptest.Packet)) action {
		a := tw.fromRemote(0, d, change)
		list = append(list, a)
		return a
	}
	plain := add(nil)
	add(func(p *encaptest.Packet) { p.NoChecksum = true })
	add(func(p *encaptest.Packet) { p.BadIPChecksum = true })
	add(func(p *encaptest.Packet) { p.Options = []byte{1, 1, 1, 0} })
	add(func(p *encaptest.Packet) { p.Fragment = 0x8000 })
	add(func(p *encaptest.Packet) { p.Pad = 300 })
	add(func(p *encaptest.Packet) { p.Proto = 136 }) // UDP-Lite
	if tw.v6 {
		for _, proto := range []uint8{0, 60} {
			add(func(p *encaptest.Packet) { p.Extensions = []encaptest.Extension{extension(proto, 1)} })
		}
	}
	ip, udp := encap.EthernetLen, len(plain.frame)-len(d)-encap.UDPLen
	change := func(f func([]byte)) {
		list = append(list, action{name: "wire", where: "wire", frame: patched(plain.frame, f)})
	}
	for _, n := range []int{-20, -1, 1, 20} {
		// Without UDP checksum, for its pseudo-header has the length in it.
		change(func(f []byte) {
			binary.BigEndian.PutUint16(f[udp+4:], uint16(len(f)-udp+n))
			binary.BigEndian.PutUint16(f[udp+6:], 0)
		})
		change(func(f []byte) {
			at, own := ip+2, ip
			if tw.v6 {
				at, own = ip+4, ip+encap.IPv6Len
			}
			binary.BigEndian.PutUint16(f[at:], uint16(len(f)-own+n))
			binary.BigEndian.PutUint16(f[udp+6:], 0)
			if !tw.v6 {
				binary.BigEndian.PutUint16(f[ip+10:], 0)
				binary.BigEndian.PutUint16(f[ip+10:], ^encaptest.ReferenceSum(f[ip:ip+encap.IPv4MinLen], 0))
			}
		})
	}
	change(func(f []byte) { f[ip] ^= 0x10 })
	for _, cut := range []int{8, 16, 64} {
		list = append(list, tw.fragments(plain.frame, cut)...)
	}
	return list
}

// fragments cuts the packet in a frame in two, the first with cut bytes of its payload.
func (tw *twins) fragments(frame []byte, cut int) []action {
	ip := frame[encap.EthernetLen:]
	piece := func(offset, n int, more bool) action {
		word := uint16(offset / 8)
		p := encaptest.Packet{SrcMAC: wireMAC, DstMAC: switchMAC, V6: tw.v6, Src: tw.pair[0].remotes[0].addr, Dst: tw.pair[0].config.Local, ID: uint16(cut)}
		if tw.v6 {
			body := make([]byte, 8)
			if word <<= 3; more {
				word |= 1
			}
			binary.BigEndian.PutUint16(body[2:], word)
			binary.BigEndian.PutUint32(body[4:], uint32(cut))
			body[0] = encap.ProtoUDP
			p.Proto, p.Payload = encap.ProtoFragment, append(body, ip[encap.IPv6Len+offset:][:n]...)
		} else {
			if more {
				word |= encap.IPv4MoreFragments
			}
			// A protocol that encaptest does not know takes the payload as it is.
			p.Proto, p.Fragment, p.Payload = 254, word, ip[encap.IPv4MinLen+offset:][:n]
		}
		f := p.Frame()
		if !tw.v6 {
			h := f[encap.EthernetLen:]
			h[9] = encap.ProtoUDP
			binary.BigEndian.PutUint16(h[10:], 0)
			binary.BigEndian.PutUint16(h[10:], ^encaptest.ReferenceSum(h[:encap.IPv4MinLen], 0))
		}
		return action{name: "fragment", where: "wire", frame: f}
	}
	all := len(ip) - encap.IPv4MinLen
	if tw.v6 {
		all = len(ip) - encap.IPv6Len
	}
	return []action{piece(0, cut, true), piece(cut, all-cut, false)}
}
