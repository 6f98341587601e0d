package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// pieces makes of a frame what a network card would send: segments, with their checksums finished.
func (w *twin) pieces(where string, f lab.Frame) [][]byte {
	w.t.Helper()
	var off encap.Offload
	off.Decode(f.Offload[:])
	list, err := cutTunnelled(f.Data, off)
	if err != nil {
		w.t.Errorf("%s: %d bytes with %+v: %v: %x", where, len(f.Data), off, err, f.Data[:min(len(f.Data), 120)])
	}
	return list
}

// cutTunnelled cuts a superframe, or one inside a datagram: the wrapping goes around each segment, as a kernel without the card's help would do it.
func cutTunnelled(frame []byte, off encap.Offload) ([][]byte, error) {
	if off.IsGSO() && off.GSOType&^encap.GSOECN != encap.GSOUDPL4 {
		if at := innerOffset(frame); at > 0 && int(off.CsumStart) > at {
			segments, err := cutFrame(frame[at:], off.Shift(-at))
			for i, s := range segments {
				segments[i] = wrapped(frame[:at], s, i)
			}
			return segments, err
		}
	}
	return cutFrame(frame, off)
}

// innerOffset is where the frame in a VXLAN datagram begins; 0 when it is none.
func innerOffset(frame []byte) int {
	var l encap.Layout
	l.Parse(frame)
	if l.Proto != encap.ProtoUDP || l.L4 == 0 || len(frame) < int(l.L4)+encap.UDPLen+encap.VXLANLen ||
		binary.BigEndian.Uint16(frame[l.L4+2:]) != DefaultPort {
		return 0
	}
	return int(l.L4) + encap.UDPLen + encap.VXLANLen
}

// wrapped is a segment with the outer headers of its superframe, of which it is the n-th.
func wrapped(outer, segment []byte, n int) []byte {
	f := append(bytes.Clone(outer), segment...)
	ip, udp := f[encap.EthernetLen:], len(f)-len(segment)-encap.UDPLen-encap.VXLANLen
	binary.BigEndian.PutUint16(f[udp+4:], uint16(len(f)-udp))
	if ip[0]>>4 == 4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(n))
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^encaptest.ReferenceSum(ip[:encap.IPv4MinLen], 0))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-encap.IPv6Len))
	}
	return f
}

// cutFrame cuts a superframe, or finishes the checksum of a frame that is none.
func cutFrame(frame []byte, off encap.Offload) ([][]byte, error) {
	if !off.IsGSO() {
		frame = bytes.Clone(frame)
		if off.NeedsChecksum() {
			if err := encap.FinishChecksum(frame, off); err != nil {
				return nil, err
			}
		}
		return [][]byte{frame}, nil
	}
	var l encap.Layout
	var c encap.Cutter
	l.Parse(frame)
	if err := c.Init(frame, &l, off); err != nil {
		return nil, err
	}
	list := make([][]byte, 0, c.Count())
	for i := range c.Count() {
		header := make([]byte, c.HeaderLen())
		payload := c.Segment(i, header)
		list = append(list, append(header, payload...))
	}
	return list, nil
}

// datagram is a VXLAN datagram on the wire as text; all else is empty. What may differ is checked and then left out: the source port and the flow label,
// which each path draws from a hash of its own, the identification of a packet that must not be fragmented (RFC 6864 section 4.1), and
// the UDP checksum, right or, where the VNI allows, zero.
func (w *twin) datagram(frame []byte) string {
	w.t.Helper()
	at := innerOffset(frame)
	if at == 0 {
		return ""
	}
	f := bytes.Clone(frame)
	ip, udp := f[encap.EthernetLen:], f[at-encap.UDPLen-encap.VXLANLen:]
	complain := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s: %x", fmt.Sprintf(format, args...), frame)
	}
	if port := binary.BigEndian.Uint16(udp); port < 49152 {
		complain("source port %d (RFC 7348 section 5: 49152 to 65535)", port)
	}
	check := binary.BigEndian.Uint16(udp[6:])
	vni := encap.VXLAN(udp[encap.UDPLen:]).VNI()
	var pseudo uint16
	var length int
	if ip[0]>>4 == 4 {
		if ip[0] != 0x45 || encaptest.ReferenceSum(ip[:encap.IPv4MinLen], 0) != 0xffff {
			complain("IPv4 header with options or a wrong checksum")
		}
		if binary.BigEndian.Uint16(ip[6:]) != encap.IPv4DontFragment {
			complain("not marked to be left whole")
		}
		if check == 0 && !w.zeroChecksum(vni, 0) {
			complain("no UDP checksum in VNI %d, which wants one", vni)
		}
		pseudo = encaptest.ReferenceSum(ip[12:20], 0)
		length = int(binary.BigEndian.Uint16(ip[2:])) - encap.IPv4MinLen
		clear(ip[4:6])
		clear(ip[10:12])
	} else {
		if check == 0 && !w.zeroChecksum(vni, 1) {
			complain("no UDP checksum over IPv6 in VNI %d, which wants one", vni)
		}
		pseudo = encaptest.ReferenceSum(ip[8:40], 0)
		length = int(binary.BigEndian.Uint16(ip[4:]))
		ip[1] &= 0xf0
		clear(ip[2:4])
	}
	if length != len(udp) || length != int(binary.BigEndian.Uint16(udp[4:])) {
		complain("UDP length %d, by the IP header %d, of %d bytes", binary.BigEndian.Uint16(udp[4:]), length, len(udp))
	}
	if check != 0 {
		pseudo = encaptest.ReferenceSum([]byte{byte(len(udp) >> 8), byte(len(udp)), 0, encap.ProtoUDP}, pseudo)
		if encaptest.ReferenceSum(udp, pseudo) != 0xffff {
			complain("wrong UDP checksum %#04x", check)
		}
	}
	clear(udp[:2])
	clear(udp[6:8])
	return fmt.Sprintf("%x", f)
}

// zeroChecksum says whether datagrams of a VNI may go without UDP checksum.
func (w *twin) zeroChecksum(vni uint32, family int) bool {
	for _, c := range w.VNIs() {
		if c.Config.VNI == vni && family == 1 {
			return c.Config.Header.UDP6ZeroChecksumTx
		}
		if c.Config.VNI == vni {
			return c.Config.Header.UDPChecksum != ChecksumOn
		}
	}
	return false
}
