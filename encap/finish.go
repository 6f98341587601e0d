package encap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBadOffload is the cause of every refusal of an Offload that contradicts the
// frame it came with. Offloads come from guests: they are not to be believed.
var ErrBadOffload = errors.New("offload contradicts the frame")

var (
	errNotGSO     = fmt.Errorf("%w: not a superframe", ErrBadOffload)
	errCsumBounds = fmt.Errorf("%w: checksum field outside the frame", ErrBadOffload)
	errFinishGSO  = fmt.Errorf("%w: the checksum of a superframe cannot be finished whole", ErrBadOffload)
)

// FinishChecksum does what a sender that set FlagNeedsCsum left undone: it sums
// frame from off.CsumStart to its end and writes the complement to the checksum
// field, which holds the pseudo-header sum so far. A UDP checksum that comes out as
// 0 is written as 0xffff (RFC 768). Where off.CsumOffset is SCTPChecksumOffset it is
// a CRC32c, of which bytes behind the packet are no part: frame has to end with it.
// A frame without FlagNeedsCsum is left alone.
// The frame is changed in place, and not at all on error, which is ErrBadOffload:
// the field does not lie inside the frame, or off is that of a superframe.
func FinishChecksum(frame []byte, off Offload) error {
	if off.Flags&FlagNeedsCsum == 0 {
		return nil
	}
	if off.GSOType != GSONone {
		return errFinishGSO
	}
	start := int(off.CsumStart)
	if off.CsumOffset == SCTPChecksumOffset {
		return finishCRC32c(frame, start)
	}
	field := start + int(off.CsumOffset)
	if start < EthernetLen || field+2 > len(frame) {
		return errCsumBounds
	}
	c := ^foldLE(sumWords(frame[start:]))
	if c == 0 && off.CsumOffset == UDPChecksumOffset {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(frame[field:], c)
	return nil
}
