// Package xdp is the fast path inside the kernel: eBPF programs on ports and on the underlay, the maps they
// forward by, where they are attached, and the pins that let them outlive the process.
//
// It knows nothing of workers, configuration files, snapshots or the forwarding table of user space: it is told
// numbers and addresses, and one caller tells it. The programs carry known unicast IP frames between ports and
// peers exactly as user space would, and leave all else to user space, unchanged.
//
// # Where the programs sit
//
//	 workload                                                        workload
//	    │                                                                │
//	┌───▼──────┐ tcx egress   (TAP in this namespace)                ┌───┴──────┐
//	│   port   │ tcx ingress  (veth, netdev)                         │   port   │
//	└───┬──────┘   vtepd_tap, vtepd_device                           └───▲──────┘
//	    │ known unicast: wrapped up, bpf_redirect_neigh                  │ bpf_redirect, bpf_redirect_peer
//	┌───▼──────┐                                                     ┌───┴──────┐ tcx ingress: vtepd_underlay
//	│ underlay ├───────────── VXLAN over UDP ────────────────────────► underlay │ XDP: vtepd_bare
//	└──────────┘                                                     └──────────┘
//
// XDP comes first where it is used: it cuts the outer headers off and notes the VNI in front of the frame, so that
// the kernel joins inner TCP segments (GRO) before vtepd_underlay gives them to a port as one. On virtual devices that bring
// segments one by one, vtepd_underlay sends what it unwrapped through a pair of devices of our own for the same end, and
// vtepd_cell gives it to the port.
//
// A port on a device of the host is read by packet sockets, which see a frame before tcx does. They carry the
// socket filter slow_only, which decides by the same code; vtepd_device then carries what the filter left alone
// and drops the rest, so that the host's stack sees none of it.
//
// # One writer
//
// User space alone says where frames go. The programs refresh [Entry.Seen], note when a peer was heard, keep ways and judgements of their own, add to
// counters, and tell of new sources ([LearnEvent]).
//
// # Flow cache
//
// What the maps said of one frame is kept for the next ones between the same stations (struct port_way, struct wire_way), as a copy in one place of the
// CPU: five questions to hash tables become one comparison. It holds while the epoch is the same, which every change of a map moves on, and
// to the end of the second, so that sources go on being refreshed. What differs from frame to frame is asked of each.
//
// # Life
//
// Programs, maps and links are pinned under [Options.PinDir]. When a process dies, the pinned links go on carrying
// known traffic. The next one loads its own programs and maps, but for the notes of superframes, which it goes on with, reads
// what the former knew by [FastPath.Former], and exchanges the program of every link in one step; [FastPath.Commit] drops what is
// left over.
//
// # What differs from user space
//
//   - The outer UDP checksum of a datagram is not verified (RFC 7348 section 5 leaves it to the receiver), and that
//     of a datagram sent is zero: where a VNI asks for one, its frames go through user space.
//   - Datagrams that the programs take do not pass the host's packet filter.
//
// # Licence
//
// The C sources (*.c, *.h) and what is compiled from them (*.o) are under MIT or GPL-2.0-only, at your choice: the
// kernel reserves some of what it offers to programs to licences compatible with the GPL.
package xdp

//go:generate go run ./regenerate
