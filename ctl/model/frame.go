package model

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"vtepd/dataplane"
	"vtepd/encap"
)

// ParseFrame reads an Ethernet frame in hexadecimal, as tcpdump -xx and Wireshark give it: bytes may be apart by spaces, colons, dashes and ends of lines, and a
// line may begin with its offset.
func ParseFrame(s string) ([]byte, error) {
	s = withoutOffsets(s)
	digits := strings.NewReplacer(" ", "", ":", "", "-", "", "\n", "", "\r", "", "\t", "").Replace(s)
	switch {
	case digits == "":
		return nil, errors.New("an empty frame: expected its bytes in hexadecimal, from the destination address on")
	case len(digits) > 2*dataplane.MaxTraced:
		return nil, fmt.Errorf("a frame of more than %d bytes: there are none", dataplane.MaxTraced)
	}
	b, err := hex.DecodeString(digits)
	var odd hex.InvalidByteError
	switch {
	case errors.As(err, &odd):
		return nil, fmt.Errorf("%q in a frame: expected its bytes in hexadecimal, such as ffffffffffff 020000000001 0806 ... (tcpdump -xx)", rune(odd))
	case err != nil:
		return nil, fmt.Errorf("a frame of %d hexadecimal digits: a byte has two", len(digits))
	}
	return b, nil
}

// withoutOffsets takes away what tcpdump begins a line with: 0x0010:
func withoutOffsets(s string) string {
	if !strings.Contains(s, "0x") {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		before, after, ok := strings.Cut(strings.TrimLeft(line, " \t"), ":")
		if _, err := strconv.ParseUint(before, 0, 32); ok && err == nil && strings.HasPrefix(before, "0x") {
			lines[i] = after
		}
	}
	return strings.Join(lines, "\n")
}

// ParseTOS reads a TOS or traffic class, 0..255 or 0x0..0xff: six bits of DSCP and two of ECN.
func ParseTOS(s string) (uint8, error) {
	if digits, isHex := strings.CutPrefix(strings.ToLower(s), "0x"); isHex {
		n, err := strconv.ParseUint(digits, 16, 8)
		if err != nil {
			return 0, fmt.Errorf("%s is no TOS: expected a number from 0 to 255, or 0x0 to 0xff", quote(s))
		}
		return uint8(n), nil
	}
	n, err := parseNumber(s, "a TOS", 0, 0xff)
	if err != nil {
		return 0, fmt.Errorf("%w, or 0x0 to 0xff", err)
	}
	return uint8(n), nil
}

// ParsePCP reads an 802.1Q priority, 0..7.
func ParsePCP(s string) (uint8, error) {
	n, err := parseNumber(s, "a priority", 0, 7)
	return uint8(n), err
}

// ParseFrameTTL reads the TTL or hop limit of a packet, 0..255.
func ParseFrameTTL(s string) (uint8, error) {
	n, err := parseNumber(s, "a TTL", 0, 255)
	return uint8(n), err
}

// ParseFrameSize reads the size of a frame in bytes.
func ParseFrameSize(s string) (int, error) {
	return parseNumber(s, "the size of a frame", encap.EthernetLen, dataplane.MaxTraced)
}
