// Package underlay moves VXLAN datagrams between this host and its peers: UDP
// sockets, batches, kernel segmentation (UDP_SEGMENT) and kernel coalescing
// (UDP_GRO), and what the network reports back through ICMP.
//
// It knows nothing of VNIs, MAC addresses, ports or configuration files, and it
// never looks into a payload. A datagram is a header slice and a payload slice
// on the way out, and one slice on the way in.
//
// # Sockets
//
//	            Local:Port                      Local:49152..65535
//	peers ──►  receive sockets                 transmit sockets  ──► peers
//	           one a worker,                   SourcePorts of them, shared by
//	           SO_REUSEPORT                    all workers, deaf (filter: ret 0)
//	               │                                  ▲
//	           Receiver.Recv                   Transmitter.Queue, Flush
//	           one recvmmsg(2)                 one sendmmsg(2) a socket in use
//
// The source port of an outer header is the only entropy that routers and
// receiving NICs get (RFC 7348 section 5). A UDP socket has one source port, so
// there is a pool of them and the hash of the inner flow picks one. A flow
// stays on one socket, so the kernel keeps its order.
//
// # Words
//
//   - datagram: one UDP payload, carrying one VXLAN-encapsulated frame
//   - lane: the datagrams of one batch that share socket, destination, [Class]
//     and IPv6 flow label; order inside a lane is kept
//   - run: neighbouring datagrams of a lane, all of one size save a shorter
//     last one, which leave as one message by UDP_SEGMENT
//   - message: one entry of sendmmsg(2) or recvmmsg(2); it holds a run, or one
//     datagram
//
// # Threads
//
// A [Receiver] and a [Transmitter] belong to one worker each. [Sockets] may be
// used from any goroutine. [Sockets.Close] must come after the last use of
// every Receiver and Transmitter.
package underlay
