package encap

import "encoding/binary"

const (
	// EtherTypeProbe is local experimental EtherType 1 (IEEE 802, RFC 9542 B.2).
	EtherTypeProbe = 0x88b5
	// ProbeDst is the nearest bridge's group address. No bridge forwards it (802.1Q-2018 table 8-1), and nothing listens for EtherTypeProbe there, so
	// that a VTEP that knows no probes loses them without a trace.
	ProbeDst = 0x0180c200000e
	// ProbeLen is the least length of a probe, and that of every answer, in bytes: no answer is larger than its question.
	ProbeLen = 60

	probeMagic = 0x5654_4550_4431 // "VTEPD1"
)

// ProbeKind tells questions from answers.
type ProbeKind uint8

const (
	ProbeQuestion ProbeKind = 1
	ProbeAnswer   ProbeKind = 2
)

// Probe is a view of a frame that one VTEP sends another to learn whether a datagram of that size arrives. It needs ProbeLen bytes.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                  Destination 01:80:c2:00:00:0e                |
//	+                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                               |                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//	|                        Source address                         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|       EtherType 0x88b5        |      Magic "VTEPD1" ...       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                           ... Magic                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Kind      |       0       |              0                |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                        Identifier (64 bits)                   |
//	|                                                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Length of the question's frame, as sent or received       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                         0 ...
type Probe []byte

// Valid says whether the frame is a probe.
func (p Probe) Valid() bool {
	return len(p) >= ProbeLen && Ethernet(p).Dst() == ProbeDst && Ethernet(p).EtherType() == EtherTypeProbe &&
		binary.BigEndian.Uint64(p[12:])&0xffff_ffff_ffff == probeMagic
}

// Kind tells questions from answers; any byte may be there.
func (p Probe) Kind() ProbeKind { return ProbeKind(p[20]) }

// ID is what the asker chose.
func (p Probe) ID() uint64 { return binary.BigEndian.Uint64(p[24:]) }

// Length of the question's frame in bytes: as sent in a question, as received in an answer.
func (p Probe) Length() uint32 { return binary.BigEndian.Uint32(p[32:]) }

// Encode makes the whole of p a probe. length is what Length is to return.
func (p Probe) Encode(kind ProbeKind, src, id uint64, length uint32) {
	clear(p)
	Ethernet(p).SetDst(ProbeDst)
	Ethernet(p).SetSrc(src)
	binary.BigEndian.PutUint64(p[12:], EtherTypeProbe<<48|probeMagic)
	p[20] = byte(kind)
	binary.BigEndian.PutUint64(p[24:], id)
	binary.BigEndian.PutUint32(p[32:], length)
}
