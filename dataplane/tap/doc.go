// Package tap owns TAP devices: it creates or takes over a device, negotiates
// the virtio-net header and the offloads with the kernel, puts the device into
// its namespace, and reads and writes frames and superframes on its queues.
//
// It knows nothing of VLANs, VNIs, forwarding or configuration files, and it
// never looks into a frame beyond the length of its transport header.
//
// # Words
//
//   - frame: one Ethernet frame, from the destination MAC on, without FCS
//   - superframe: a frame of up to 64 KiB that stands for several segments; its
//     virtio-net header ([encap.Offload]) says how it is to be cut
//   - queue: one file descriptor of a device; a worker owns one of each device
//
// # Threads
//
// A [Queue] belongs to one worker. The methods of [Device] may be called from
// any goroutine; Close must come after the last use of every Queue.
package tap
