/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
//go:build ignore

/* What the kernel offers to the programs: context layouts, helpers and flags, as <linux/bpf.h> numbers them. They are stable kernel interface. Only what
 * is used stands here, so that neither the programs nor their BTF depend on which kernel headers a machine has.
 */
#ifndef VTEPD_KERNEL_H
#define VTEPD_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef _Bool bool;
#define true 1
#define false 0

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define inline_always static inline __attribute__((always_inline))
/* A function that the verifier looks at by itself, once, whoever calls it: with any numbers, and with any memory of its arguments' types or
 * none, which is why each begins by asking.
 */
#define apart __attribute__((noinline))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define be16(x) ((__u16)__builtin_bswap16((__u16)(x)))
#define be32(x) ((__u32)__builtin_bswap32((__u32)(x)))
#else
#define be16(x) ((__u16)(x))
#define be32(x) ((__u32)(x))
#endif

/* Map types and flags. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_SOCKMAP = 15,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_F_NO_PREALLOC = 1,
};

/* Context of tcx programs and socket filters. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol; /* network byte order */
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto; /* network byte order */
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 sock[13];
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
};

/* What is read of the kernel's own structure behind it. That is no stable interface: whoever loads the programs puts in where each field is (CO-RE). */
struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start; /* from head, as all that follow */
	__u16 csum_offset;
	__u16 network_header;
	__u16 inner_protocol; /* network byte order */
	__u16 inner_network_header;
	__u16 inner_mac_header;
	__u32 end; /* there is skb_shared_info */
	unsigned char *head;
	unsigned char *data;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	__u32 gso_type;
} __attribute__((preserve_access_index));

enum { CHECKSUM_PARTIAL = 3 };
enum { EALREADY = 114 }; /* but on alpha, mips, parisc and sparc */
enum { SKB_GSO_UDP_TUNNEL = 1 << 10, SKB_GSO_UDP_TUNNEL_CSUM = 1 << 11 };

extern void *bpf_cast_to_kern_ctx(void *ctx) __attribute__((section(".ksyms"))); /* Linux 6.2 */
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __attribute__((section(".ksyms"))); /* Linux 6.2 */

/* What __builtin_btf_type_id tells: the number of the running kernel's type. */
enum { TYPE_ID_TARGET = 1 };

/* What __builtin_preserve_field_info tells of a field. */
enum { FIELD_BYTE_OFFSET = 0, FIELD_LSHIFT_U64 = 4, FIELD_RSHIFT_U64 = 5 };

/* Context of XDP programs. */
struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

struct bpf_redir_neigh {
	__u32 nh_family;
	__u32 nh[4]; /* network byte order; IPv4 in the first */
};

/* The first fields of struct bpf_tunnel_key, which are enough for the helper. */
struct tunnel_key {
	__u32 id;
	__u32 remote4;
};

/* What a socket is looked for by, in the order in which IP and UDP headers have it. */
struct sock4 {
	__u32 address[2];
	__u16 port[2];
};

struct sock6 {
	__u32 address[8];
	__u16 port[2];
};

struct bpf_sock;

enum { AF_INET = 2, AF_INET6 = 10 };
enum { PACKET_HOST = 0, PACKET_OTHERHOST = 3, PACKET_OUTGOING = 4 };
enum { TCX_NEXT = -1, TCX_PASS = 0, TCX_DROP = 2 };
enum { XDP_PASS = 2 };
enum { BPF_F_INGRESS = 1, BPF_F_RECOMPUTE_CSUM = 1 };
enum { BPF_RB_AVAIL_DATA = 0 };
#define BPF_F_CURRENT_NETNS (-1ULL)

#define BPF_ADJ_ROOM_MAC 1
#define BPF_F_ADJ_ROOM_FIXED_GSO (1ULL << 0)
#define BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 (1ULL << 1)
#define BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 (1ULL << 2)
#define BPF_F_ADJ_ROOM_ENCAP_L4_UDP (1ULL << 4)
#define BPF_F_ADJ_ROOM_ENCAP_L2_ETH (1ULL << 6)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#define BPF_F_ADJ_ROOM_ENCAP_L2(len) ((__u64)(len) << 56)

/* Helpers, by their number (bpf-helpers(7)). */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 off, const void *from, __u32 len, __u64 flags) = (void *)9;
static long (*bpf_l3_csum_replace)(struct __sk_buff *skb, __u32 off, __u64 from, __u64 to, __u64 size) = (void *)10;
static long (*bpf_skb_vlan_push)(struct __sk_buff *skb, __u16 proto, __u16 tci) = (void *)18;
static long (*bpf_skb_vlan_pop)(struct __sk_buff *skb) = (void *)19;
static long (*bpf_skb_set_tunnel_key)(struct __sk_buff *skb, const struct tunnel_key *key, __u32 size, __u64 flags) = (void *)21;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_skb_load_bytes)(const void *skb, __u32 off, void *to, __u32 len) = (void *)26;
static long (*bpf_skb_change_type)(struct __sk_buff *skb, __u32 type) = (void *)32;
static __u32 (*bpf_get_hash_recalc)(struct __sk_buff *skb) = (void *)34;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static long (*bpf_skb_adjust_room)(struct __sk_buff *skb, int delta, __u32 mode, __u64 flags) = (void *)50;
static long (*bpf_xdp_adjust_meta)(struct xdp_md *ctx, int delta) = (void *)54;
static struct bpf_sock *(*bpf_sk_lookup_udp)(void *ctx, void *tuple, __u32 size, __u64 netns, __u64 flags) = (void *)85;
static long (*bpf_sk_release)(struct bpf_sock *sk) = (void *)86;
static long (*bpf_ringbuf_output)(void *map, void *data, __u64 size, __u64 flags) = (void *)130;
static __u64 (*bpf_ringbuf_query)(void *map, __u64 flags) = (void *)134;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *params, int len, __u64 flags) = (void *)152;
static long (*bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;
static __u64 (*bpf_xdp_get_buff_len)(struct xdp_md *ctx) = (void *)188;
static __u64 (*bpf_ktime_get_coarse_ns)(void) = (void *)160;
static long (*bpf_xdp_load_bytes)(struct xdp_md *ctx, __u32 off, void *to, __u32 len) = (void *)189;

#endif
