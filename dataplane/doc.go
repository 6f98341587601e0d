// Package dataplane is the switch: ports, VNIs and peers, the workers that move frames between them, the counters and the drop ledger.
//
// It knows nothing of configuration files, JSON, commands or HTTP: control speaks to it in the structs of config.go and report.go.
// How the wire looks is encap's business, where a MAC lives is fdb's, and the system calls are in tap, netdev, underlay, device, xdp,
// ethtool and pmqos below this one.
//
// # The path of a frame
//
//	worker.go    reads a batch from one source (a TAP queue, a packet socket or an underlay socket)
//	pipeline.go  decides frame by frame: which VNI, guards, learn, look up (train.go once for the datagrams of a message that are alike)
//	egress.go    hands copies to ports (posts.go gathers those for packet sockets) and to the transmitter, and flushes what the batch gathered
//	fate.go      settles the batch: each frame forwarded, or dropped with one Reason
//
// A new guard is a stage in pipeline.go with its own Reason in drops.go. A new kind of port is a type of source in worker.go and of
// destination in egress.go. A new counter goes into counters.go.
//
// # Words
//
//	frame       an Ethernet frame, without FCS
//	superframe  a frame larger than the MTU with a virtio-net header that says how to cut it (GSO)
//	segment     one piece of a superframe, a frame of its own on the wire
//	datagram    one UDP payload: VXLAN header and frame
//	port        where frames enter and leave locally
//	peer        a remote VTEP
//	VNI         a broadcast domain; every frame inside the switch belongs to exactly one
//	batch       what one worker reads from one source before it flushes
//
// # Threads
//
// One worker a core, each a goroutine locked to its thread, with an epoll set of its own. A worker takes the current forwarding snapshot
// once a batch and never waits for control. Control changes a copy under Switch.mu, publishes it with one atomic store, and where it has
// to take something away (a queue's descriptor, a peer's index) waits until every worker has left the batches that could still see it.
package dataplane
