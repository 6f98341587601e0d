package pcapng

import (
	"encoding/binary"
)

// Types of blocks (section 11.1 of the draft).
const (
	TypeInterface  = 1
	TypeStatistics = 5
	TypePacket     = 6          // the enhanced one
	TypeSection    = 0x0a0d0d0a // the same in both byte orders
)

const (
	// blockLen is what a block has beside its body, in bytes: type and length in front, length behind.
	blockLen = 12
	// byteOrderMagic tells a reader the byte order of a section.
	byteOrderMagic = 0x1a2b3c4d
	// linkEthernet is LINKTYPE_ETHERNET.
	linkEthernet = 1
	// nanoseconds is if_tsresol: times are in units of 10^-9 s.
	nanoseconds = 9
	// maxText bounds a text, in bytes; the length of an option has 16 bits.
	maxText = 1 << 15
)

// Codes of options, which mean different things in different blocks.
const (
	optEnd     = 0
	optComment = 1

	shbUserApplication = 4

	ifName        = 2
	ifDescription = 3
	ifResolution  = 9

	packetFlags = 2

	statisticsReceived = 4
	statisticsDropped  = 5
)

// Interface describes where packets were captured.
type Interface struct {
	Name, Description string
	// SnapLen is how much of a packet there may be, in bytes; 0 is no limit.
	SnapLen uint32
}

// Packet is one captured packet.
type Packet struct {
	Interface uint32 // its place in the section
	Time      int64  // nanoseconds since 1970-01-01 UTC
	Length    uint32 // bytes that it had; Data may be less
	Data      []byte // borrowed
	Outbound  bool   // it left by the interface; else it came in
	Comment   string // empty: none
}

// Statistics is what became of the packets of an interface since the section began.
type Statistics struct {
	Interface         uint32
	Time              int64 // as in Packet
	Received, Dropped uint64
}

// AppendSection begins a section, which ends with the next one or the capture.
//
//	+---------------------------------------------------------------+
//	|                      Byte-Order Magic                         |
//	+-------------------------------+-------------------------------+
//	|       Major Version (1)       |       Minor Version (0)       |
//	+-------------------------------+-------------------------------+
//	|               Section Length (64 bits; -1: not known)         |
//	+---------------------------------------------------------------+
//	/                    Options: shb_userappl                      /
//	+---------------------------------------------------------------+
func AppendSection(b []byte, application string) []byte {
	b, at := begin(b, TypeSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1)
	b = appendText(b, shbUserApplication, application)
	return end(appendEnd(b), at)
}

// AppendInterface describes an interface.
//
//	+-------------------------------+-------------------------------+
//	|           Link Type           |           Reserved            |
//	+-------------------------------+-------------------------------+
//	|                           SnapLen                             |
//	+---------------------------------------------------------------+
//	/          Options: if_name, if_description, if_tsresol         /
//	+---------------------------------------------------------------+
func AppendInterface(b []byte, i Interface) []byte {
	b, at := begin(b, TypeInterface)
	b = binary.LittleEndian.AppendUint16(b, linkEthernet)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint32(b, i.SnapLen)
	b = appendText(b, ifName, i.Name)
	b = appendText(b, ifDescription, i.Description)
	b = appendOption(b, ifResolution, 1)
	b = append(b, nanoseconds, 0, 0, 0)
	return end(appendEnd(b), at)
}

// AppendPacket adds a packet of an interface that was described.
//
//	+---------------------------------------------------------------+
//	|                         Interface ID                          |
//	+---------------------------------------------------------------+
//	|                       Timestamp (high)                        |
//	+---------------------------------------------------------------+
//	|                       Timestamp (low)                         |
//	+---------------------------------------------------------------+
//	|                    Captured Packet Length                     |
//	+---------------------------------------------------------------+
//	|                    Original Packet Length                     |
//	+---------------------------------------------------------------+
//	/                 Packet Data, padded to 32 bits                /
//	+---------------------------------------------------------------+
//	/                Options: epb_flags, opt_comment                /
//	+---------------------------------------------------------------+
func AppendPacket(b []byte, p Packet) []byte {
	b, at := begin(b, TypePacket)
	b = binary.LittleEndian.AppendUint32(b, p.Interface)
	b = binary.LittleEndian.AppendUint32(b, uint32(uint64(p.Time)>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.Time))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Data)))
	b = binary.LittleEndian.AppendUint32(b, max(p.Length, uint32(len(p.Data))))
	b = pad(append(b, p.Data...), len(p.Data))
	b = appendOption(b, packetFlags, 4)
	direction := uint32(1)
	if p.Outbound {
		direction = 2
	}
	b = binary.LittleEndian.AppendUint32(b, direction)
	b = appendText(b, optComment, p.Comment)
	return end(appendEnd(b), at)
}

// AppendStatistics adds what has become of the packets of an interface so far.
//
//	+---------------------------------------------------------------+
//	|                         Interface ID                          |
//	+---------------------------------------------------------------+
//	|                       Timestamp (high)                        |
//	+---------------------------------------------------------------+
//	|                       Timestamp (low)                         |
//	+---------------------------------------------------------------+
//	/         Options: isb_ifrecv, isb_ifdrop (64 bits each)        /
//	+---------------------------------------------------------------+
func AppendStatistics(b []byte, s Statistics) []byte {
	b, at := begin(b, TypeStatistics)
	b = binary.LittleEndian.AppendUint32(b, s.Interface)
	b = binary.LittleEndian.AppendUint32(b, uint32(uint64(s.Time)>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Time))
	b = binary.LittleEndian.AppendUint64(appendOption(b, statisticsReceived, 8), s.Received)
	b = binary.LittleEndian.AppendUint64(appendOption(b, statisticsDropped, 8), s.Dropped)
	return end(appendEnd(b), at)
}

// begin begins a block; at is where its bytes begin.
func begin(b []byte, kind uint32) (_ []byte, at int) {
	at = len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return binary.LittleEndian.AppendUint32(b, 0), at
}

// end fills in the length of a block that began at at, in both places.
func end(b []byte, at int) []byte {
	n := uint32(len(b) + 4 - at)
	binary.LittleEndian.PutUint32(b[at+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

// appendOption begins an option whose value has size bytes.
func appendOption(b []byte, code uint16, size int) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	return binary.LittleEndian.AppendUint16(b, uint16(size))
}

func appendText(b []byte, code uint16, text string) []byte {
	if text == "" {
		return b
	}
	text = text[:min(len(text), maxText)]
	return pad(append(appendOption(b, code, len(text)), text...), len(text))
}

func appendEnd(b []byte) []byte { return appendOption(b, optEnd, 0) }

// pad fills up to 32 bits what has n bytes.
func pad(b []byte, n int) []byte {
	for ; n%4 != 0; n++ {
		b = append(b, 0)
	}
	return b
}
