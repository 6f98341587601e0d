package pcapng

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxBlock bounds what a Scanner takes for a block, in bytes: a packet of 256 KiB with options to spare.
const maxBlock = 1 << 20

// ErrNoBlock: what was read is not what this package writes.
var ErrNoBlock = errors.New("pcapng: no block of a little-endian capture")

// Scanner finds the blocks of a capture, so that one can be passed on without being cut inside a block. It is for one goroutine.
type Scanner struct {
	in    *bufio.Reader
	block []byte
}

// NewScanner makes a scanner of what r reads.
func NewScanner(r io.Reader) *Scanner { return &Scanner{in: bufio.NewReaderSize(r, 1<<16)} }

// Buffered says whether something was read that Next has not returned yet: the next call need not wait long.
func (s *Scanner) Buffered() bool { return s.in.Buffered() > 0 }

// Next returns the next block, which is valid until the call after it. The error is io.EOF at the end, io.ErrUnexpectedEOF inside a block, that of the reader, or
// wraps ErrNoBlock.
func (s *Scanner) Next() (Block, error) {
	head, err := s.in.Peek(8)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n < blockLen || n > maxBlock || n%4 != 0 {
		return nil, fmt.Errorf("%w: type %#x, length %d", ErrNoBlock, binary.LittleEndian.Uint32(head), n)
	}
	if int(n) > cap(s.block) {
		s.block = make([]byte, n, 2*n)
	}
	s.block = s.block[:n]
	if _, err := io.ReadFull(s.in, s.block); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if again := binary.LittleEndian.Uint32(s.block[n-4:]); again != n {
		return nil, fmt.Errorf("%w: length %d in front, %d behind", ErrNoBlock, n, again)
	}
	return s.block, nil
}

// Block is a whole block, as a Scanner returns it.
type Block []byte

// Type is that of the block.
func (b Block) Type() uint32 { return binary.LittleEndian.Uint32(b) }

// Statistics reads a block of TypeStatistics; not ok when it is another, or what it says is cut short. Time is left out.
func (b Block) Statistics() (s Statistics, ok bool) {
	const fixed = 8 + 12
	if b.Type() != TypeStatistics || len(b) < fixed+4 {
		return s, false
	}
	s.Interface = binary.LittleEndian.Uint32(b[8:])
	for options := b[fixed : len(b)-4]; len(options) >= 4; {
		code, size := binary.LittleEndian.Uint16(options), int(binary.LittleEndian.Uint16(options[2:]))
		options = options[4:]
		if code == optEnd {
			break
		}
		if size > len(options) {
			return s, false
		}
		if size == 8 {
			switch v := binary.LittleEndian.Uint64(options); code {
			case statisticsReceived:
				s.Received = v
			case statisticsDropped:
				s.Dropped = v
			}
		}
		options = options[min((size+3)&^3, len(options)):]
	}
	return s, true
}
