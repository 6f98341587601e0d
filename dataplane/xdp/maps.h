/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
//go:build ignore

/* What the programs share with user space. Numbers are in host byte order unless they say otherwise; addresses and ports are as on the wire. User
 * space writes everything but fdb_value.seen, cell.whole, superframes, the counters, the budget, judged, the ways and events.
 */
#ifndef VTEPD_MAPS_H
#define VTEPD_MAPS_H

#include "kernel.h"

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct address {
	__u32 word[4];
};

enum {
	MAX_LOCALS = 8, /* own addresses of a family */
	MAX_UDP_PORTS = 32, /* UDP ports datagrams are taken from: dataplane.MaxListen */
	MAX_SOURCE_PORTS = 64, /* chosen one by one; a power of two */
};

/* Constants of one load: the verifier knows them, and what they switch off is no longer there when a program runs. */
struct settings {
	__u32 local4[MAX_LOCALS];
	struct address local6[MAX_LOCALS];
	__u16 udp_ports[MAX_UDP_PORTS]; /* network byte order; 0: unused */
	__u16 source_ports4[MAX_SOURCE_PORTS]; /* network byte order; toward IPv4 peers, where the list is not empty */
	__u16 source_ports6[MAX_SOURCE_PORTS]; /* toward IPv6 peers */
	__u32 source_listed4; /* how many there are */
	__u32 source_listed6;
	__u32 locals4;
	__u32 locals6;
	__u32 source_first; /* outer UDP source ports where none are listed: the first, and how many */
	__u32 source_count;
	__u32 learn_budget; /* events a second and CPU */
	__u32 mark; /* of frames given back to user space */
	__u32 switch_family; /* adjust_room can change IPv4 into IPv6 when it decapsulates, and back */
	__u32 alone; /* no packet socket reads the ports */
	__u32 vrf; /* the sockets are bound to a VRF */
	__u32 flow_cache; /* decisions are kept: nothing interrupts a program on its CPU to run another */
	__u32 instance; /* tells the programs of several processes on one device apart */
};

volatile const struct settings settings = {};

struct fdb_key {
	__u32 vni;
	__u8 mac[6];
	__u16 zero;
};

enum {
	PLACE_PEER = 1u << 31, /* of fdb_value.place: a peer's index and not a port's */
	ENTRY_STATIC = 1, /* of fdb_value.flags */
	ENTRY_STICKY = 2,
};

struct fdb_value {
	__u32 place;
	__u32 flags;
	__u32 seen; /* second of the coarse monotonic clock; the programs write it too */
};

enum port_kind { KIND_TAP, KIND_VETH, KIND_NETDEV };

struct port {
	__u32 index;
	__u32 ifindex;
	enum port_kind kind;
	__u32 max_frame; /* bytes, untagged */
	__u32 untagged; /* VNI, 0: none */
	__u16 native_vid; /* 0: none */
	__u8 trunk; /* has (port, VID) entries */
	__u8 to_user;
	__u8 peer_mac[6]; /* of the other end of a veth */
	__u8 filtered; /* its packet sockets have the filter slow_only, or had it when their process died */
	__u8 isolated; /* exchanges nothing with other such ports */
	__u32 serial; /* tells the ports and peers apart that had the index; never used again */
};

struct vid_key {
	__u32 port;
	__u32 number; /* VID in vid_to_vni, VNI in vni_to_vid */
};

enum {
	DOMAIN_TO_USER = 1 << 0,
	DOMAIN_LEARNING = 1 << 1,
	DOMAIN_STRICT = 1 << 2,
	DOMAIN_ZERO4_TX = 1 << 3,
	DOMAIN_ZERO6_TX = 1 << 4,
	DOMAIN_ZERO6_RX = 1 << 5,
	DOMAIN_INHERIT_TTL = 1 << 6,
	DOMAIN_INHERIT_DSCP = 1 << 7,
	DOMAIN_ECN_LINUX = 1 << 8,
	DOMAIN_CLAMP_MSS = 1 << 9,
	DOMAIN_SPOOF_GUARD = 1 << 10,
	DOMAIN_NEW_SOURCES = 1 << 11,
	DOMAIN_GUARD_MORE = 1 << 12, /* beside DOMAIN_SPOOF_GUARD: there are ports in guarded */
	DOMAIN_CLAMP_BY_PATH = 1 << 13, /* beside DOMAIN_CLAMP_MSS: the way to the peer counts, too */
};

struct domain {
	__u32 slot; /* in vni_counters */
	__u32 flags;
	__u8 ttl;
	__u8 tos; /* its ECN bits are 0 */
	__u16 mss4; /* with DOMAIN_CLAMP_MSS: the largest that a connection may announce over IPv4 for user space to have nothing to lower, but for peers */
	__u16 mss6; /* over IPv6 */
	__u16 zero;
};

struct peer {
	struct address source;
	struct address address;
	__u32 next_hop[4]; /* IPv4 in the first */
	__u32 next_hop_family;
	__u32 ifindex;
	__u32 max_frame; /* bytes of the inner frame */
	__u16 udp_port; /* network byte order */
	__u8 ipv6;
	__u8 divided; /* superframes of UDP leave the device as datagrams */
};

struct source_key {
	__u32 vni;
	struct address address;
};

struct source {
	__u32 peer;
	__u32 serial; /* as that of a port */
};

/* Where segments of one underlay device are joined (cell.go). */
struct cell {
	__u32 underlay; /* ifindex of the device, 0: none */
	__u32 ifindex; /* of the way in */
	__u32 whole; /* second in which the device last brought a superframe, 0: never; the programs write it */
};

/* For so many seconds after a superframe segments are not joined: a connection that sends both has to stay in order. */
enum { WHOLE_SECONDS = 10, MAX_CELLS = 64 };

/* For so many nanoseconds after a superframe that was left to user space, so is what comes behind it between the same stations, and what comes behind that,
 * which it must not overtake either; in all for BEHIND_MOST after the superframe. It is long for a way through user space, and less than TCP waits until it
 * sends again (200 ms, TCP_RTO_MIN): where nobody reads what is left to user space, the repetition gets through.
 */
#define BEHIND_OVER (100 * 1000 * 1000ULL)
#define BEHIND_MOST (10 * 1000 * 1000 * 1000ULL)

/* When something was last left to user space; coarse clock, ns. */
struct behind {
	__u64 superframe;
	__u64 any; /* that or what came behind */
};

/* Frames of at most so many bytes gain nothing by being joined, and lose the time it takes, unless they have to stay behind larger ones between the same
 * stations that were: these are through after so many nanoseconds.
 */
enum { SMALL_SEGMENT = 512, BULK_OVER = 20 * 1000 * 1000 };

struct counters {
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 tx_packets;
	__u64 tx_bytes;
};

/* What becomes of a frame. The first three are carried, RACE is dropped; the others go to user space, for the reason named. */
enum verdict {
	TO_PEER,
	FROM_PEER,
	TO_PORT,
	RACE, /* dropped: unwrapped already when its destination vanished */
	NO_PORT,
	PORT_TO_USER,
	NOT_IP,
	GROUP_ADDRESS,
	BAD_SOURCE,
	TAGGED,
	NO_DOMAIN,
	DOMAIN_POLICY,
	ODD_IP,
	ODD_OUTER,
	ODD_VXLAN,
	UDP_CHECKSUM,
	UNKNOWN_PEER,
	UNKNOWN_SOURCE,
	UNKNOWN_DESTINATION,
	SAME_PLACE,
	NO_ROUTE,
	TOO_LARGE,
	ODD_SUPERFRAME,
	ODD_CHECKSUM,
	ECN_DROP,
	REFUSED, /* the kernel did not take the change to the frame */
	GIVEN_BACK, /* the socket filter left it to a program that could not take it after all */
	LEARN_RATE, /* its source is new, and enough such were told of in this second */
	LEARN_QUEUE, /* its source is new, and nobody has read of the last ones yet */
	BEHIND_SUPERFRAME, /* must not overtake one that user space has */
	NUM_VERDICTS,
};

struct totals {
	__u64 count[NUM_VERDICTS]; /* packets */
};

/* A frame was carried whose source the maps do not know, or know elsewhere. */
struct learn_event {
	__u32 vni;
	__u32 serial; /* of the port or the source that it came from */
	__u8 mac[6];
	__u16 zero;
};

/* Bytes of the ring buffer, and of an event in it with its header. */
enum { EVENTS_LEN = 256 * 1024, EVENT_LEN = 24 };

struct budget {
	__u32 second;
	__u32 used;
};

/* What the socket filter said of the frame that comes next on this CPU: it runs right before the tcx program, on the same frame. */
struct judgement {
	__u32 ifindex; /* 0: none */
	__u32 len;
	enum verdict verdict;
};

/* A device that XDP unwraps on, at its ifindex modulo MAX_UNDERLAYS. What is for another address than the device's own is another host's, which a device in
 * promiscuous mode receives too: the stack sets pkt_type by that, but only after XDP.
 */
struct underlay {
	__u32 ifindex; /* 0: none */
	__u8 mac[6];
	__u16 zero;
};

enum { MAX_UNDERLAYS = 256 }; /* a power of two */

/* The flow cache: how long what was decided for one frame may be used for the next ones: until user space changes a map, which it says by another epoch, and
 * to the end of the second, for ages to be kept.
 */
struct validity {
	__u32 epoch; /* 0: nothing is there */
	__u32 second;
};

/* What all frames from a port between the same two stations have in common, copied from the maps to one place of this CPU. */
struct port_way {
	struct validity validity;
	__u32 ifindex;
	__u32 tag; /* TCI and TAGGED_WAY; 0: untagged */
	__u8 dst[6];
	__u8 src[6];
	__u32 vni;
	__u32 place; /* as in fdb_value */
	int vid;
	__u32 known; /* 0: the source is new, and nothing is kept */
	struct domain domain;
	struct port port;
	union { /* by place */
		struct peer peer;
		struct port to;
	};
};

/* The same of datagrams from a peer; of frames unwrapped before, whatever sent them: no source there, and zero in vxlan[0]. */
struct wire_way {
	struct validity validity;
	__u32 vxlan[2]; /* network byte order */
	struct address source;
	__u8 dst[6];
	__u8 src[6];
	__u32 vni;
	__u32 peer;
	int vid;
	__u32 known;
	__u32 serial; /* of the source */
	__u64 bulk; /* coarse clock, ns: when a segment that is worth joining came last, or the place changed hands. It outlasts the validity */
	struct domain domain;
	struct port to;
};

enum {
	WAYS = 256, /* of each kind and CPU; a power of two */
	TAGGED_WAY = 1 << 16,
};

/* Written in front of an unwrapped frame by XDP, read by tcx on the same device. Two versions of the programs meet here while one replaces the
 * other: the layout may only change together with the magic number.
 */
struct unwrapped {
	__u32 magic;
	__u32 instance;
	__u32 vni;
};

enum { UNWRAPPED_MAGIC = 0x56544550 };

#define HASH(name, key_type, value_type, max)          \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_HASH);       \
		__uint(map_flags, BPF_F_NO_PREALLOC);  \
		__uint(max_entries, max);              \
		__type(key, key_type);                 \
		__type(value, value_type);             \
	} name SEC(".maps")

#define PERCPU(name, value_type, max)                  \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
		__uint(max_entries, max);              \
		__type(key, __u32);                    \
		__type(value, value_type);             \
	} name SEC(".maps")

/* The sizes are placeholders: user space sets them. */
HASH(fdb, struct fdb_key, struct fdb_value, 1);
HASH(ports, __u32, struct port, 1); /* by index */
HASH(devices, __u32, struct port, 1); /* by ifindex */
HASH(vid_to_vni, struct vid_key, __u32, 1);
HASH(vni_to_vid, struct vid_key, __u32, 1);
HASH(domains, __u32, struct domain, 1); /* by VNI */
HASH(peers, __u32, struct peer, 1); /* by index */
HASH(sources, struct source_key, struct source, 1);
PERCPU(port_counters, struct counters, 1);
PERCPU(peer_counters, struct counters, 1);
PERCPU(vni_counters, struct counters, 1);
PERCPU(totals, struct totals, 1);
PERCPU(budgets, struct budget, 1);
PERCPU(judged, struct judgement, 1);
PERCPU(port_ways, struct port_way, WAYS);
PERCPU(wire_ways, struct wire_way, WAYS);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_UNDERLAYS);
	__type(key, __u32);
	__type(value, struct underlay);
} underlays SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CELLS);
	__type(key, __u32);
	__type(value, struct cell);
} cells SEC(".maps"); /* by ifindex of the underlay device, modulo MAX_CELLS */

/* All CPUs share them: on virtual devices a flow moves with the thread that sends. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4 * WAYS);
	__type(key, __u32);
	__type(value, struct behind);
} superframes SEC(".maps"); /* by stations, protocol and direction */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epochs SEC(".maps"); /* counts changes of the maps; 0: one is under way */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536 / 64);
	__type(key, __u32);
	__type(value, __u64);
} guarded SEC(".maps"); /* UDP ports that VTEPs listen on, besides udp_ports: port n is bit n % 64 of word n / 64 */

HASH(vteps, struct address, __u8, 1); /* addresses that nothing from a port may send VXLAN to */

/* A socket of the process that loaded the programs, where settings.vrf. The kernel takes it out when the process ends, however that happens. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} alive SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_LEN);
} events SEC(".maps");

#endif
