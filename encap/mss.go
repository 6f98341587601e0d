package encap

import (
	"encoding/binary"
	"math/bits"
)

// Kinds of TCP options (IANA) that ClampMSS looks at.
const (
	tcpOptionEnd  = 0
	tcpOptionNop  = 1
	tcpOptionMSS  = 2
	tcpOptionAO   = 29 // RFC 5925: signs the other options
	tcpMSSLen     = 4
	MinIPv4TCPLen = IPv4MinLen + TCPMinLen // bytes an MSS does not count over IPv4 (RFC 9293 3.7.1: options are not its business)
	MinIPv6TCPLen = IPv6Len + TCPMinLen    // the same over IPv6
)

// OpensTCP says whether the frame that l describes opens a TCP connection or answers the opening: SYN is set. Fragments never do.
func OpensTCP(frame []byte, l *Layout) bool {
	return l.Proto == ProtoTCP && l.Payload != 0 && l.Flags&LayoutFragment == 0 && TCP(frame[l.L4:]).Flags()&TCPSyn != 0
}

// ClampMSS lowers the MSS option of a TCP SYN or SYN-ACK to mss, in place, and mends the checksum by the difference (RFC 1624). It says whether it
// changed anything. partial tells that the checksum is unfinished (FlagNeedsCsum): it covers the pseudo-header alone, and stays.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Kind 2    |    Length 4   |      Maximum Segment Size     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// Left alone is
//   - what OpensTCP says no to, and options behind one that contradicts its length
//   - an MSS that is not larger, and a SYN without the option: its sender is sent 536 bytes, or 1220 over IPv6 (RFC 9293 3.7.1)
//   - what somebody signed: TCP-AO (RFC 5925), and TCP behind an authentication header (RFC 4302)
//
// Of several MSS options all are lowered: which one counts is for the receiver to say.
func ClampMSS(frame []byte, l *Layout, mss uint16, partial bool) (changed bool) {
	if !OpensTCP(frame, l) || authenticated(frame, l) {
		return false
	}
	h := frame[l.L4:l.Payload]
	if !clampable(h, mss) {
		return false
	}
	sum := TCP(h).Checksum()
	for at := TCPMinLen; at < len(h); {
		size := optionLen(h[at:])
		if size == 0 {
			break
		}
		if h[at] == tcpOptionMSS && size == tcpMSSLen {
			if was := binary.BigEndian.Uint16(h[at+2:]); was > mss {
				binary.BigEndian.PutUint16(h[at+2:], mss)
				from, to := was, mss
				if at%2 != 0 { // the value lies across two words of the sum
					from, to = bits.ReverseBytes16(from), bits.ReverseBytes16(to)
				}
				sum = UpdateChecksum(sum, from, to)
				changed = true
			}
		}
		at += size
	}
	if !partial {
		TCP(h).SetChecksum(sum)
	}
	return changed
}

// clampable says whether a TCP header has an MSS option above mss and no signature.
func clampable(h []byte, mss uint16) (found bool) {
	for at := TCPMinLen; at < len(h); {
		size := optionLen(h[at:])
		if size == 0 {
			break
		}
		switch h[at] {
		case tcpOptionAO:
			return false
		case tcpOptionMSS:
			found = found || size == tcpMSSLen && binary.BigEndian.Uint16(h[at+2:]) > mss
		}
		at += size
	}
	return found
}

// optionLen is the length of the option at the front of b; 0 at the end of the options, and where an option is not inside b.
func optionLen(b []byte) int {
	switch b[0] {
	case tcpOptionEnd:
		return 0
	case tcpOptionNop:
		return 1
	}
	if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
		return 0
	}
	return int(b[1])
}

// authenticated says whether an authentication header is among the IPv6 extension headers. Parse has walked them, so that they are where they say.
func authenticated(frame []byte, l *Layout) bool {
	if l.Flags&LayoutIPv6 == 0 || l.Flags&LayoutOptions == 0 {
		return false
	}
	proto := frame[l.L3+6]
	for at := int(l.L3) + IPv6Len; at+8 <= int(l.L4); {
		switch proto {
		case ProtoAH:
			return true
		case ProtoFragment:
			proto, at = frame[at], at+8
		default:
			proto, at = frame[at], at+(int(frame[at+1])+1)*8
		}
	}
	return false
}
