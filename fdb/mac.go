package fdb

import "fmt"

// MAC is a 48-bit Ethernet address. The first byte on the wire is the most
// significant of the low six bytes, so that MACs sort as they are written; the
// upper 16 bits are zero.
//
//	 63      48 47    40 39    32 31    24 23    16 15     8 7      0
//	+----------+--------+--------+--------+--------+--------+--------+
//	|    0     | byte 0 | byte 1 | byte 2 | byte 3 | byte 4 | byte 5 |
//	+----------+--------+--------+--------+--------+--------+--------+
//	                  |
//	                  +- bit 0 of byte 0: group address (IEEE 802-2014, 8.2)
type MAC uint64

const (
	macBits     = 48
	macMask     = 1<<macBits - 1
	macLen      = 6               // bytes on the wire
	macText     = 3*macLen - 1    // characters of 02:00:00:00:00:01
	macGroupBit = MAC(0x01) << 40 // individual/group bit
)

// FromBytes reads a MAC from the first six bytes of b, in wire order. It
// panics when b is shorter: the caller has proved the length of the header.
func FromBytes(b []byte) MAC {
	_ = b[5]
	return MAC(b[0])<<40 | MAC(b[1])<<32 | MAC(b[2])<<24 | MAC(b[3])<<16 | MAC(b[4])<<8 | MAC(b[5])
}

// PutBytes writes m into the first six bytes of b, in wire order. It panics
// when b is shorter.
func (m MAC) PutBytes(b []byte) {
	_ = b[5]
	b[0], b[1], b[2] = byte(m>>40), byte(m>>32), byte(m>>24)
	b[3], b[4], b[5] = byte(m>>16), byte(m>>8), byte(m)
}

// IsMulticast reports whether m is a group address, the broadcast address included.
func (m MAC) IsMulticast() bool { return m&macGroupBit != 0 }

// IsZero reports whether m is 00:00:00:00:00:00.
func (m MAC) IsZero() bool { return m == 0 }

// valid reports whether m fits 48 bits and is not the zero address.
func (m MAC) valid() bool { return m-1 < macMask }

// String returns m in lower case hexadecimal with colons.
func (m MAC) String() string {
	var b [macText]byte
	return string(m.append(b[:0]))
}

const hexDigits = "0123456789abcdef"

func (m MAC) append(b []byte) []byte {
	for shift := 40; shift >= 0; shift -= 8 {
		c := byte(m >> uint(shift))
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
		if shift != 0 {
			b = append(b, ':')
		}
	}
	return b
}

// AppendText appends the form of [MAC.String] to b. It never fails.
func (m MAC) AppendText(b []byte) ([]byte, error) { return m.append(b), nil }

// MarshalText returns the form of [MAC.String].
func (m MAC) MarshalText() ([]byte, error) { return m.append(nil), nil }

// UnmarshalText accepts what [ParseMAC] accepts.
func (m *MAC) UnmarshalText(b []byte) error {
	v, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}

// ParseMAC reads six bytes of two hexadecimal digits each, in either case,
// all separated by ':' or all by '-'. The error is [ErrMAC].
func ParseMAC(s string) (MAC, error) {
	if len(s) != macText {
		return 0, fmt.Errorf("%w: %d characters in %.40q, want %d", ErrMAC, len(s), s, macText)
	}
	sep := s[2]
	if sep != ':' && sep != '-' {
		return 0, fmt.Errorf("%w: separator %q in %q, want ':' or '-'", ErrMAC, sep, s)
	}
	var m MAC
	for i := 0; i < macText; i += 3 {
		hi, lo := unhex(s[i]), unhex(s[i+1])
		if hi|lo > 15 {
			return 0, fmt.Errorf("%w: byte %q in %q is not hexadecimal", ErrMAC, s[i:i+2], s)
		}
		if i > 0 && s[i-1] != sep {
			return 0, fmt.Errorf("%w: mixed separators in %q", ErrMAC, s)
		}
		m = m<<8 | MAC(hi<<4|lo)
	}
	return m, nil
}

// unhex returns the value of a hexadecimal digit, or 0xff.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
