/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
//go:build ignore

/* Frames: what is read of them, and the questions that both directions ask. */
#ifndef VTEPD_FRAME_H
#define VTEPD_FRAME_H

#include "maps.h"

enum {
	ETH_LEN = 14,
	IP4_LEN = 20, /* without options */
	IP6_LEN = 40,
	TCP_LEN = 20, /* without options */
	UDP_LEN = 8,
	VXLAN_LEN = 8,
	ETH_IP4 = 0x0800,
	ETH_IP6 = 0x86dd,
	ETH_TEB = 0x6558, /* what the kernel calls a tunnelled Ethernet frame */
	ETH_8021Q = 0x8100,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	ECN_MASK = 3,
	ECN_CE = 3,
	ECN_ECT0 = 2,
	VID_MASK = 0x0fff,
	PRIORITY_MASK = 0xf000,
};

/* The front of a frame: Ethernet header and as much of IP as is looked at. It starts on the stack so that IP is aligned. */
struct front {
	__u16 align;
	__u8 dst[6];
	__u8 src[6];
	__u16 type;
	union {
		__u8 ip[IP6_LEN];
		__u16 half[IP6_LEN / 2];
		__u32 word[IP6_LEN / 4];
	};
};

/* What is known of a frame's network and transport headers. */
struct inside {
	__u32 header; /* bytes up to the transport payload; of superframes only */
	__u32 packets; /* segments that it stands for */
	__u32 largest; /* bytes of the largest of them */
	__u32 bytes; /* of all of them */
	__u32 l4; /* where the transport header begins, or the first extension header */
	__u32 mss; /* that a connection announces which is opened where that counts, bytes; 0: it does not say */
	bool fragment;
	__u8 tos;
	__u8 ttl;
	__u8 proto;
};

/* Reads from a frame in either kind of context; xdp is a constant. */
inline_always long load(void *ctx, bool xdp, __u32 off, void *to, __u32 len)
{
	return xdp ? bpf_xdp_load_bytes(ctx, off, to, len) : bpf_skb_load_bytes(ctx, off, to, len);
}

inline_always bool load_front(void *ctx, bool xdp, __u32 off, __u32 len, struct front *f)
{
	if (len >= ETH_LEN + IP6_LEN)
		return load(ctx, xdp, off, f->dst, ETH_LEN + IP6_LEN) == 0;
	if (len < ETH_LEN + IP4_LEN)
		return false;
	for (int i = IP4_LEN / 4; i < IP6_LEN / 4; i++)
		f->word[i] = 0;
	return load(ctx, xdp, off, f->dst, ETH_LEN + IP4_LEN) == 0;
}

inline_always bool group(const __u8 *mac)
{
	return mac[0] & 1;
}

inline_always bool zero_mac(const __u8 *mac)
{
	const __u16 *h = (const __u16 *)mac;

	return !(h[0] | h[1] | h[2]);
}

inline_always bool same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

inline_always void copy_mac(__u8 *to, const __u8 *from)
{
	__u16 *t = (__u16 *)to;
	const __u16 *f = (const __u16 *)from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
}

inline_always bool our_udp_port(__u16 port)
{
#pragma unroll
	for (int i = 0; i < MAX_UDP_PORTS; i++)
		if (settings.udp_ports[i] && settings.udp_ports[i] == port)
			return true;
	return false;
}

inline_always bool guarded_udp_port(__u16 port)
{
	__u32 number = be16(port), word = number / 64;
	__u64 *bits = bpf_map_lookup_elem(&guarded, &word);

	return bits && *bits >> (number % 64) & 1;
}

/* Whether a packet from a port, whose IP header follows the Ethernet header, is for a VTEP. */
apart bool to_vtep(struct __sk_buff *skb, bool ipv6)
{
	struct address a = {};
	long err;

	if (!skb)
		return true;
	if (ipv6) {
		err = bpf_skb_load_bytes(skb, ETH_LEN + 24, &a, sizeof(a));
	} else {
		a.word[2] = be32(0xffff);
		err = bpf_skb_load_bytes(skb, ETH_LEN + 16, &a.word[3], sizeof(a.word[3]));
	}
	return err || bpf_map_lookup_elem(&vteps, &a);
}

/* 253 and 254 among the extension headers are for experiments; they count as unknown transports, which the caller never looks into. */
inline_always bool extension(__u8 next)
{
	switch (next) {
	case 0: /* hop by hop */
	case 43: /* routing */
	case 44: /* fragment */
	case 51: /* authentication */
	case 60: /* destination options */
	case 135: /* mobility */
	case 139: /* host identity */
	case 140: /* shim6 */
		return true;
	}
	return false;
}

enum {
	TCP_SYN = 2, /* of the flags */
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	OPTION_AO = 29, /* RFC 5925 */
	MANY_OPTIONS = 16, /* which nobody sends */
	ODD_MSS = 1 << 16, /* above any number */
};

/* The largest MSS that a TCP header announces, 0 when it announces none. ODD_MSS is what user space has to look at (encap.ClampMSS). Options are read one by one
 * because the stack has no room for all.
 */
apart __u32 announced_mss(struct __sk_buff *skb, __u32 l4)
{
	__u32 at, end, most = 0;
	__u8 data_offset;

	if (!skb || bpf_skb_load_bytes(skb, l4 + 12, &data_offset, 1))
		return ODD_MSS;
	at = l4 + TCP_LEN;
	end = l4 + (data_offset >> 4) * 4;
	for (int i = 0; i < MANY_OPTIONS; i++) {
		__u8 kind, size;
		__u16 mss;

		if (at == end)
			return most;
		if (at > end || bpf_skb_load_bytes(skb, at, &kind, 1))
			return ODD_MSS;
		if (kind == OPTION_END)
			return most;
		if (kind == OPTION_NOP) {
			at++;
			continue;
		}
		if (kind == OPTION_AO || at + 2 > end || bpf_skb_load_bytes(skb, at + 1, &size, 1) || size < 2)
			return ODD_MSS;
		if (kind == OPTION_MSS && size == 4) {
			if (bpf_skb_load_bytes(skb, at + 2, &mss, 2))
				return ODD_MSS;
			if (be16(mss) > most)
				most = be16(mss);
		}
		at += size;
	}
	return ODD_MSS;
}

/* Whether user space lowers the MSS of a frame that opens a connection, or may. max_frame is of the way to the peer, if one has a part in it. */
inline_always bool to_be_clamped(const struct inside *in, __u16 type, const struct domain *d, __u32 max_frame)
{
	bool ipv6 = type == be16(ETH_IP6);

	if (in->mss > (ipv6 ? d->mss6 : d->mss4))
		return true;
	return d->flags & DOMAIN_CLAMP_BY_PATH && in->mss + ETH_LEN + (ipv6 ? IP6_LEN : IP4_LEN) + TCP_LEN > max_frame;
}

/* How the kernel would cut a superframe. */
inline_always __u32 gso_type(struct __sk_buff *skb)
{
	const struct sk_buff *s = bpf_cast_to_kern_ctx(skb);
	const struct skb_shared_info *more = bpf_rdonly_cast(s->head + s->end, __builtin_btf_type_id(*(struct skb_shared_info *)0, TYPE_ID_TARGET));

	return more->gso_type;
}

/* Whether a superframe is one of a tunnel, whose datagrams were never apart. */
inline_always bool tunnels_own(struct __sk_buff *skb)
{
	return gso_type(skb) & (SKB_GSO_UDP_TUNNEL | SKB_GSO_UDP_TUNNEL_CSUM);
}

/* What a question answers when nothing speaks against carrying the frame. It has the number of a verdict that is carried, but is none yet. */
enum { GO_ON = FROM_PEER };

/* Looks at the IP header in f, of a frame of len bytes that begins at off, and at the transport header where the domain or the superframe needs it.
 * Returns GO_ON when the frame may be carried.
 */
inline_always __u32 look_inside(void *ctx, bool xdp, __u32 off, __u32 len, __u32 gso_size, __u32 flags, bool from_port, const struct front *f, struct inside *in)
{
	__u32 l3 = ETH_LEN, l4, ip_len;
	bool fragment = false, later = false;

	if (f->type == be16(ETH_IP4)) {
		__u32 header = (f->ip[0] & 0xf) * 4;

		if (f->ip[0] >> 4 != 4 || header < IP4_LEN || len < l3 + header)
			return ODD_IP;
		l4 = l3 + header;
		ip_len = be16(f->half[1]);
		in->tos = f->ip[1];
		in->ttl = f->ip[8];
		in->proto = f->ip[9];
		fragment = f->half[3] & be16(0x3fff);
		later = f->half[3] & be16(0x1fff);
	} else if (f->type == be16(ETH_IP6)) {
		if (len < l3 + IP6_LEN || f->ip[0] >> 4 != 6)
			return ODD_IP;
		l4 = l3 + IP6_LEN;
		ip_len = IP6_LEN + be16(f->half[2]);
		in->tos = f->ip[0] << 4 | f->ip[1] >> 4;
		in->ttl = f->ip[7];
		in->proto = f->ip[6];
	} else {
		return NOT_IP;
	}

	in->l4 = l4;
	in->mss = 0;
	in->fragment = fragment;
	in->packets = 1;
	in->largest = in->bytes = len;
	if (gso_size) {
		__u8 data_offset;

		/* Several datagrams joined for the UDP socket look like a superframe too, but their first IP header does not cover all of it. */
		if (fragment || l3 + ip_len != len)
			return ODD_SUPERFRAME;
		switch (in->proto) {
		case PROTO_TCP:
			if (load(ctx, xdp, off + l4 + 12, &data_offset, 1))
				return ODD_SUPERFRAME;
			in->header = l4 + (data_offset >> 4) * 4;
			break;
		case PROTO_UDP:
			in->header = l4 + UDP_LEN;
			break;
		default:
			return ODD_SUPERFRAME;
		}
		if (in->header >= len)
			return ODD_SUPERFRAME;
		in->packets = (len - in->header + gso_size - 1) / gso_size;
		in->bytes = len + (in->packets - 1) * in->header;
		if (in->largest > in->header + gso_size)
			in->largest = in->header + gso_size;
	}

	if (flags & (DOMAIN_CLAMP_MSS | (from_port ? DOMAIN_SPOOF_GUARD : 0))) {
		if (f->type == be16(ETH_IP6) && extension(in->proto))
			return DOMAIN_POLICY;
		if (in->proto == PROTO_TCP && !later && flags & DOMAIN_CLAMP_MSS) {
			__u8 tcp_flags;

			if (load(ctx, xdp, off + l4 + 13, &tcp_flags, 1))
				return DOMAIN_POLICY;
			if (tcp_flags & TCP_SYN) {
				if (fragment || xdp) /* which leaves it to tcx, that comes next */
					return DOMAIN_POLICY;
				in->mss = announced_mss(ctx, off + l4);
			}
		}
		if (in->proto == PROTO_UDP && from_port && flags & DOMAIN_SPOOF_GUARD) {
			__u16 port;

			if (fragment || load(ctx, xdp, off + l4 + 2, &port, 2))
				return DOMAIN_POLICY;
			if ((our_udp_port(port) || (flags & DOMAIN_GUARD_MORE && guarded_udp_port(port))) && to_vtep(ctx, f->type == be16(ETH_IP6)))
				return DOMAIN_POLICY;
		}
	}
	return GO_ON;
}

inline_always struct fdb_value *find(__u32 vni, const __u8 *mac)
{
	struct fdb_key key = {.vni = vni};

	copy_mac(key.mac, mac);
	return bpf_map_lookup_elem(&fdb, &key);
}

/* Seconds of the coarse monotonic clock. */
inline_always __u32 now(void)
{
	return bpf_ktime_get_coarse_ns() / 1000000000;
}

inline_always void refresh(struct fdb_value *e)
{
	if (!(e->flags & ENTRY_STATIC)) {
		__u32 second = now();

		if (e->seen != second)
			e->seen = second;
	}
}

/* Whether a source may be taken for new that has no entry here: e is the one it has elsewhere, if any. What sends to itself is user space's, which learns
 * before it looks for the destination.
 */
inline_always bool newcomer(__u32 flags, __u32 serial, const struct fdb_value *e, const __u8 *src, const __u8 *dst)
{
	return flags & DOMAIN_NEW_SOURCES && serial && !(e && e->flags & (ENTRY_STATIC | ENTRY_STICKY)) && !same_mac(src, dst);
}

/* Tells user space of a new source whose frame may be carried: what is carried has been told of, and what cannot be told of goes up, to be learned
 * from itself. ask only says what would happen now. Returns v, or why not.
 */
inline_always __u32 announce(__u32 v, __u32 vni, const __u8 *mac, __u32 serial, bool ask)
{
	__u32 zero = 0, second = now();
	struct budget *b = bpf_map_lookup_elem(&budgets, &zero);
	struct learn_event e = {.vni = vni, .serial = serial};

	if (!b)
		return LEARN_RATE;
	if (b->second != second) {
		b->second = second;
		b->used = 0;
	}
	if (b->used >= settings.learn_budget)
		return LEARN_RATE;
	if (ask)
		return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_LEN - 2 * EVENT_LEN ? LEARN_QUEUE : v;
	copy_mac(e.mac, mac);
	if (bpf_ringbuf_output(&events, &e, sizeof(e), 0))
		return LEARN_QUEUE;
	b->used++;
	return v;
}

inline_always void tally(__u32 verdict, __u32 packets)
{
	__u32 zero = 0;
	struct totals *t = bpf_map_lookup_elem(&totals, &zero);

	/* The compiler knows which verdicts there can be, and would leave the question out that the verifier wants asked. */
	asm volatile("" : "+r"(verdict));
	if (t && verdict < NUM_VERDICTS)
		t->count[verdict] += packets;
}

inline_always void count(void *map, __u32 slot, __u32 rx_packets, __u32 rx_bytes, __u32 tx_packets, __u32 tx_bytes)
{
	struct counters *c = bpf_map_lookup_elem(map, &slot);

	if (!c)
		return;
	if (rx_packets) {
		c->rx_packets += rx_packets;
		c->rx_bytes += rx_bytes;
	}
	if (tx_packets) {
		c->tx_packets += tx_packets;
		c->tx_bytes += tx_bytes;
	}
}

inline_always __u32 epoch_now(void)
{
	__u32 zero = 0;
	volatile __u32 *epoch = bpf_map_lookup_elem(&epochs, &zero);

	return epoch ? *epoch : 0;
}

/* The validity of what is decided now, to be asked for before the first map is. */
inline_always struct validity valid_now(void)
{
	struct validity v = {.epoch = epoch_now()};

	v.second = now();
	return v;
}

/* Empties a way. What is asked afterwards cannot overtake the question for the epoch: an atomic operation with an answer orders what is around it. */
inline_always void empty(struct validity *v)
{
	__sync_lock_test_and_set(&v->epoch, 0);
}

/* While the epoch is 0 maps are being changed, and nothing is valid. */
inline_always bool holds(const struct validity *v, const struct validity *present)
{
	return present->epoch && v->epoch == present->epoch && v->second == present->second;
}

/* Whether maps have been changed since a validity was asked for, or were being changed then. The kernel gives the memory of an element that is taken out to
 * another key at once, and who has found it reads what is the other's. The way's validity is emptied for the order of the questions.
 */
inline_always bool disturbed(struct validity *way, const struct validity *began)
{
	empty(way);
	return !began->epoch || epoch_now() != began->epoch;
}

/* Sums up what the maps said, to hold two answers against each other: nobody is told twice what is another's. */
inline_always __u64 digest(const void *said, __u32 len)
{
	const __u32 *word = said;
	__u64 sum = len;

	for (__u32 i = 0; i < len / sizeof(*word); i++)
		sum = (sum ^ word[i]) * 0x100000001b3ULL; /* FNV-1a */
	return sum;
}

/* Where the way between two stations is kept. */
inline_always __u32 way_slot(const __u8 *dst, const __u8 *src)
{
	const __u16 *d = (const __u16 *)dst, *s = (const __u16 *)src;

	/* Odd numbers of Knuth and of xxHash, which spread neighbours. */
	return ((d[1] | (__u32)d[2] << 16) * 0x9e3779b1 ^ (s[1] | (__u32)s[2] << 16) * 0x85ebca77) >> 24 & (WAYS - 1);
}

/* Whether a socket was found, which is let go. */
inline_always bool found(struct bpf_sock *sk)
{
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Whether a UDP socket takes what comes so. */
inline_always bool is_socket(struct __sk_buff *skb, void *tuple, __u32 size)
{
	return found(bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0));
}

/* Whether the process lives that loaded the programs. It is asked where the sockets are bound to a VRF: the kernel looks for sockets by the device that a frame
 * came in on, and takes that for its own VRF (dev_sdif), so that is_socket finds none of them.
 */
inline_always bool is_alive(void)
{
	__u32 zero = 0;

	return found(bpf_map_lookup_elem(&alive, &zero));
}

/* Whether so much time has passed. Another CPU may have noted a later time than ours. */
inline_always bool past(__u64 ns, __u64 then, __u64 over)
{
	return (long long)(ns - then) >= (long long)over;
}

/* Whether a TCP or UDP frame has to go to user space because a superframe between its stations went there just before, which it must not overtake. Of a
 * superframe that goes there it takes note.
 */
inline_always bool behind_superframe(const __u8 *dst, const __u8 *src, __u8 proto, bool from_port, bool superframe)
{
	__u32 slot = way_slot(dst, src) + (proto == PROTO_UDP ? WAYS : 0) + (from_port ? 2 * WAYS : 0);
	struct behind *b = bpf_map_lookup_elem(&superframes, &slot);
	__u64 ns = bpf_ktime_get_coarse_ns();

	if (!b)
		return false;
	if (superframe)
		b->superframe = ns;
	else if (past(ns, b->any, BEHIND_OVER) || past(ns, b->superframe, BEHIND_MOST))
		return false;
	b->any = ns;
	return true;
}

/* How a VNI looks on a port's wire: a VID, 0 for untagged, or -1 when the port does not carry it. */
inline_always int tag_for(const struct port *p, __u32 vni)
{
	struct vid_key key = {.port = p->index, .number = vni};
	__u32 *vid;

	if (p->untagged == vni)
		return 0;
	if (!p->trunk)
		return -1;
	vid = bpf_map_lookup_elem(&vni_to_vid, &key);
	return vid ? (int)*vid : -1;
}

/* Copies the port at a place, and finds out how the VNI looks there: GO_ON, or why the frame goes to user space. */
inline_always __u32 take_port(__u32 place, __u32 vni, struct port *to, int *vid)
{
	struct port *p = bpf_map_lookup_elem(&ports, &place);

	if (!p)
		return UNKNOWN_DESTINATION;
	*to = *p;
	*vid = tag_for(to, vni);
	return *vid < 0 ? UNKNOWN_DESTINATION : GO_ON;
}

/* Gives a frame to a port's device. tci 0: untagged. Returns the program's answer, or -1 when the frame was not taken. */
inline_always int to_device(struct __sk_buff *skb, const struct port *p, __u32 tci, const __u8 *dst, bool ingress)
{
	if (tci && bpf_skb_vlan_push(skb, be16(ETH_8021Q), tci))
		return -1;
	if (p->kind == KIND_TAP)
		return bpf_redirect(p->ifindex, BPF_F_INGRESS);
	/* The short way is for frames to the workload itself: the other side does not look there whom they are for (eth_type_trans), and takes all as its own. */
	if (ingress && p->kind == KIND_VETH && same_mac(dst, p->peer_mac)) {
		if (skb->pkt_type != PACKET_HOST)
			bpf_skb_change_type(skb, PACKET_HOST);
		return bpf_redirect_peer(p->ifindex, 0);
	}
	return bpf_redirect(p->ifindex, 0);
}

#endif
