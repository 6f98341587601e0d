package encap

import (
	"encoding/binary"
	"hash/crc32"
)

// The common header of SCTP (RFC 9260 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Source Port          |       Destination Port        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                       Verification Tag                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                           Checksum                            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	SCTPHeaderLen = 12 // bytes
	// SCTPChecksumOffset is where an Offload has the checksum of SCTP. No other protocol that Linux leaves checksums to a device of has one there.
	SCTPChecksumOffset = 8 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// finishCRC32c writes the checksum of the SCTP packet that begins at start and ends with the frame: no sum of words as others have, but CRC32c over the packet
// with zeros in its place (RFC 9260 section 6.8 and appendix A).
func finishCRC32c(frame []byte, start int) error {
	if start < EthernetLen || start+SCTPHeaderLen > len(frame) {
		return errCsumBounds
	}
	field := frame[start+SCTPChecksumOffset:]
	binary.LittleEndian.PutUint32(field, 0)
	binary.LittleEndian.PutUint32(field, crc32.Checksum(frame[start:], castagnoli))
	return nil
}
