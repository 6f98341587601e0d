// Package pcapng writes packet captures as tcpdump and Wireshark read them, and finds the blocks of one (draft-ietf-opsawg-pcapng).
//
// A capture is a row of blocks, each a multiple of four bytes long, which say their type and, at both ends, their length:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                          Block Type                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      Block Total Length                       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	/                          Block Body                           /
//	/              variable length, padded to 32 bits               /
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      Block Total Length                       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// The first is a section header (AppendSection). An interface is described (AppendInterface) before the first packet of it (AppendPacket) and is known
// by its place among the interfaces, from 0. The draft leaves the byte order to the writer: it is little endian here. Link type is Ethernet.
//
// The package knows nothing of switches, files and sockets: what is written is appended to slices that belong to the caller, and a Scanner reads from what it
// is given.
package pcapng
