// Package netdev takes existing interfaces as ports: it reads and writes frames
// and superframes through packet sockets (packet(7)), keeps the host's own stack
// from seeing what the interface receives meanwhile, and gives the interface back
// as it was found. It also makes veth pairs whose host end is taken that way.
//
// It knows nothing of VLANs beyond putting a tag back where it was, and nothing
// of VNIs, forwarding or configuration files. Nothing here knows eBPF but the
// two instructions of the sink.
//
// # Words
//
//   - frame: one Ethernet frame, from the destination MAC on, without FCS
//   - superframe: a frame of up to 64 KiB that stands for several segments; its
//     virtio-net header ([encap.Offload]) says how it is to be cut
//   - queue: one packet socket of a device; a worker owns one of each device
//   - sink: the program at the interface's ingress hook that drops what has been
//     given to the queues already, before the host's stack gets it
//   - pair: a veth pair that vtepd made; its host end is the device, its peer end
//     is where the workload is
//
// # What a packet socket sees
//
//	driver ── packet sockets (queues) ── ingress hook (sink) ── host's stack
//	   │                                                             │
//	   └───────────────────── transmission ◄── queues, host's stack ─┘
//
// A received frame is copied to the queues first and dropped at the hook after.
// What the host's stack sends by itself, because the interface has addresses or
// routes, goes out as ever, and the queues do not see it.
//
// # Threads
//
// A [Queue] and a [Receiver] belong to one worker. The methods of [Device] may
// be called from any goroutine; Close must come after the last use of every
// Queue.
package netdev
