/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
//go:build ignore

/* Frames from ports: to a peer, or to another port. A tag stands beside a frame and not in it (skb->vlan_tci).
 *
 *	from_tap, from_device in:                            Ethernet | IP ...    perhaps with the tag that names the VNI
 *	           out, to a peer:  Ethernet'| IP | UDP | VXLAN | Ethernet | IP ...    without; the neighbour writes Ethernet'
 *	           out, to a port:                           Ethernet | IP ...    with the VID that the port wants, and the priority that came
 *
 * What is user space's to judge goes on as it came; keep only says so, to the packet socket.
 */
#ifndef VTEPD_FROM_PORT_H
#define VTEPD_FROM_PORT_H

#include "frame.h"

/* A frame from a port that can be carried, and where to. */
struct job {
	struct front front;
	struct inside in;
	struct port_way *way; /* one that is kept, or own */
	__u32 len; /* without a tag */
	bool recalled; /* the way was there */
	struct port_way own; /* where none are kept */
};

/* Where TCP and UDP have their checksum. */
enum { TCP_SUM = 16, UDP_SUM = 6 };

/* Wrapped up, a superframe still has to fit the length fields. */
enum { MAX_LEN = 65535 - IP6_LEN - UDP_LEN - VXLAN_LEN };

inline_always __u32 way_tag(struct __sk_buff *skb)
{
	return skb->vlan_present ? skb->vlan_tci | TAGGED_WAY : 0;
}

/* What classify cannot see. */
enum { ODD_FRONT = 1 << 0, ODD_TYPE = 1 << 1, ODD_TAG = 1 << 2 };

/* Asks the maps which VNI a frame belongs to: GO_ON, or why it goes to user space. */
apart __u32 classify(struct port_way *w, __u32 odd)
{
	struct port *port;
	struct domain *domain;
	__u32 vni;

	if (!w)
		return NO_PORT;
	w->port.filtered = 0;
	port = bpf_map_lookup_elem(&devices, &w->ifindex);
	if (!port)
		return NO_PORT;
	w->port = *port;
	port = &w->port;
	if (port->to_user)
		return PORT_TO_USER;
	if (odd & ODD_FRONT)
		return NOT_IP;
	if (group(w->dst))
		return GROUP_ADDRESS;
	if (odd)
		return TAGGED;

	vni = port->untagged;
	if (w->tag & VID_MASK) {
		struct vid_key key = {.port = port->index, .number = w->tag & VID_MASK};
		__u32 *mapped = port->trunk ? bpf_map_lookup_elem(&vid_to_vni, &key) : 0;

		if (mapped)
			vni = *mapped;
		else if (key.number != port->native_vid)
			return TAGGED;
	}
	if (!vni)
		return NO_DOMAIN;
	w->vni = vni;
	domain = bpf_map_lookup_elem(&domains, &vni);
	if (!domain)
		return NO_DOMAIN;
	w->domain = *domain;
	if (w->domain.flags & DOMAIN_TO_USER)
		return DOMAIN_POLICY;
	if (group(w->src) || zero_mac(w->src))
		return BAD_SOURCE;
	return GO_ON;
}

/* Asks the maps where a frame goes: GO_ON, or why it goes to user space. */
apart __u32 look_up(struct port_way *w)
{
	struct fdb_value *src, *dst;
	struct peer *peer;
	__u32 place, v;

	if (!w)
		return NO_PORT;
	src = find(w->vni, w->src);
	w->known = src && src->place == w->port.index;
	if (!w->known && !newcomer(w->domain.flags, w->port.serial, src, w->src, w->dst))
		return UNKNOWN_SOURCE;
	dst = find(w->vni, w->dst);
	if (!dst)
		return UNKNOWN_DESTINATION;
	place = w->place = dst->place;
	if (place & PLACE_PEER) {
		place &= ~PLACE_PEER;
		peer = bpf_map_lookup_elem(&peers, &place);
		if (!peer)
			return NO_ROUTE;
		w->peer = *peer;
		return GO_ON;
	}
	if (place == w->port.index)
		return SAME_PLACE;
	v = take_port(place, w->vni, &w->to, &w->vid);
	return v == GO_ON && w->port.isolated && w->to.isolated ? PORT_TO_USER : v;
}

/* What the maps have said of a way. */
apart __u64 said(const struct port_way *w)
{
	return w ? digest(&w->vni, sizeof(*w) - __builtin_offsetof(struct port_way, vni)) : 0;
}

/* Asks the maps once more about a frame that was to be carried: GO_ON when they say the same. */
inline_always __u32 ask_again(struct port_way *w)
{
	__u64 before = said(w);
	__u32 v = classify(w, 0);

	if (v == GO_ON)
		v = look_up(w);
	return v == GO_ON && said(w) != before ? UNKNOWN_DESTINATION : v;
}

/* Whether the way is that of the frame in hand. */
inline_always bool recall(struct __sk_buff *skb, const struct front *f, const struct port_way *w, const struct validity *present)
{
	return holds(&w->validity, present) && w->ifindex == skb->ifindex && w->tag == way_tag(skb) && same_mac(w->dst, f->dst) && same_mac(w->src, f->src) &&
	       f->type == (__u16)skb->protocol && (!skb->vlan_present || skb->vlan_proto == be16(ETH_8021Q));
}

/* Whether a checksum that the sender left unfinished belongs where TCP or UDP has it, or behind the headers: what was judged is not to be written to
 * afterwards, at a place and with a value that a station has chosen. It is guardOffload in short: what this leaves out user space looks at.
 */
inline_always bool checksum_in_place(struct __sk_buff *skb, const struct inside *in)
{
	const struct sk_buff *s = bpf_cast_to_kern_ctx(skb);
	__u64 summed = *((const __u8 *)s + __builtin_preserve_field_info(s->ip_summed, FIELD_BYTE_OFFSET));
	__u64 front;
	__u32 start, offset;

	summed <<= __builtin_preserve_field_info(s->ip_summed, FIELD_LSHIFT_U64);
	summed >>= __builtin_preserve_field_info(s->ip_summed, FIELD_RSHIFT_U64);
	if (summed != CHECKSUM_PARTIAL)
		return true;
	front = (__u64)s->data - (__u64)s->head;
	start = s->csum_start - (__u32)front;
	offset = s->csum_offset;
	if (in->fragment)
		return false;
	switch (in->proto) {
	case PROTO_TCP:
		return start == in->l4 && offset == TCP_SUM;
	case PROTO_UDP:
		return (start == in->l4 && offset == UDP_SUM) || start + offset >= in->l4 + UDP_LEN; /* of a superframe in a tunnel of the workload's */
	}
	return start + offset >= in->l4; /* the guards leave packets with extension headers to user space */
}

/* Whether a process takes datagrams from a peer. One that takes the programs of a killed one over does so before it reads ports: until all of them are
 * exchanged its filters decide, and what they keep must not be carried beside them.
 */
inline_always bool peer_is_read(struct __sk_buff *skb, const struct peer *p)
{
	if (settings.vrf)
		return is_alive();
	if (!p->ipv6) {
		struct sock4 s = {.address = {p->address.word[3], p->source.word[3]}, .port = {p->udp_port, settings.udp_ports[0]}};

		return is_socket(skb, &s, sizeof(s));
	} else {
		struct sock6 s = {.port = {p->udp_port, settings.udp_ports[0]}};

		for (int i = 0; i < 4; i++) {
			s.address[i] = p->address.word[i];
			s.address[4 + i] = p->source.word[i];
		}
		return is_socket(skb, &s, sizeof(s));
	}
}

/* Decides on a frame without changing it: TO_PEER, TO_PORT, or why it goes to user space. The order is that of worker.portStages. What asks for a frame that
 * another program carries keeps no way: the other one has to look the source up to refresh it. Where a frame is not known to be read in user space, and nobody
 * reads there, it has nothing to stay behind.
 */
inline_always __u32 judge(struct __sk_buff *skb, struct job *j, bool ask, bool read)
{
	struct validity validity = {};
	struct port_way *w;
	__u32 v, flags;
	bool ip, odd;

	j->len = skb->len;
	ip = load_front(skb, false, 0, j->len, &j->front);
	validity = valid_now();
	if (settings.flow_cache) {
		__u32 slot = ip ? way_slot(j->front.dst, j->front.src) : 0;

		w = bpf_map_lookup_elem(&port_ways, &slot);
	} else {
		w = &j->own;
		__builtin_memset(w, 0, sizeof(*w));
	}
	j->way = w;
	if (!w)
		return NO_PORT;
	j->recalled = settings.flow_cache && ip && recall(skb, &j->front, w, &validity);
	if (!j->recalled) {
		__u32 odd = ODD_FRONT;

		empty(&w->validity);
		w->ifindex = skb->ifindex;
		w->tag = way_tag(skb);
		if (ip) {
			/* adjust_room goes by skb->protocol. */
			odd = (j->front.type != (__u16)skb->protocol ? ODD_TYPE : 0) | (w->tag && skb->vlan_proto != be16(ETH_8021Q) ? ODD_TAG : 0);
			copy_mac(w->dst, j->front.dst);
			copy_mac(w->src, j->front.src);
		}
		v = classify(w, odd);
		if (v != GO_ON)
			return v;
	}
	if (!ip)
		return NOT_IP; /* for the verifier: classify has said so */
	flags = w->domain.flags;
	v = look_inside(skb, false, 0, j->len, skb->gso_size, flags, true, &j->front, &j->in);
	if (v != GO_ON)
		return v;
	if (!checksum_in_place(skb, &j->in))
		return ODD_CHECKSUM;
	if (!j->recalled) {
		v = look_up(w);
		if (v == GO_ON && disturbed(&w->validity, &validity))
			v = ask_again(w);
		if (v != GO_ON)
			return v;
	}
	v = TO_PORT;
	if (w->place & PLACE_PEER) {
		if (!(flags & (w->peer.ipv6 ? DOMAIN_ZERO6_TX : DOMAIN_ZERO4_TX)))
			return UDP_CHECKSUM;
		if (j->in.largest > w->peer.max_frame)
			return TOO_LARGE;
		if (j->in.mss && to_be_clamped(&j->in, j->front.type, &w->domain, w->peer.max_frame))
			return DOMAIN_POLICY;
		/* Where the underlay carries superframes whole, the receiving socket would take this one for datagrams of a tunnel joined. */
		odd = skb->gso_size && (!w->peer.divided || j->len > MAX_LEN || tunnels_own(skb)); /* a tunnel of the workload's is not wrapped up again */
		if (j->in.proto == PROTO_UDP && behind_superframe(j->front.dst, j->front.src, PROTO_UDP, true, odd) &&
		    (odd || read || peer_is_read(skb, &w->peer)))
			return odd ? ODD_SUPERFRAME : BEHIND_SUPERFRAME;
		if (j->len > MAX_LEN)
			return TOO_LARGE;
		v = TO_PEER;
	} else if (j->in.largest > w->to.max_frame) {
		return TOO_LARGE;
	} else if (j->in.mss && to_be_clamped(&j->in, j->front.type, &w->domain, -1)) {
		return DOMAIN_POLICY;
	}
	if (!j->recalled && !ask && w->known)
		w->validity = validity;
	return v;
}

/* The same for a frame that is going to be carried: user space hears of a new source before anybody else can. */
inline_always __u32 judge_and_tell(struct __sk_buff *skb, struct job *j, bool ask)
{
	__u32 v = judge(skb, j, ask, true);

	return v <= TO_PORT && !j->way->known ? announce(v, j->way->vni, j->front.src, j->way->port.serial, ask) : v;
}

/* The outer headers as they go in front of the inner Ethernet header's old place, which adjust_room leaves at the front: all that is written, in one.
 *
 *	before:  Ethernet | IP ...
 *	after:   Ethernet'| IP | UDP | VXLAN | Ethernet | IP ...
 *	         '-------------- written -------------'
 */
struct outer4 {
	__u8 dst[6];
	__u8 src[6];
	__u16 type;
	__u8 version;
	__u8 tos;
	__u16 len;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 proto;
	__u16 check;
	__u16 source[2];
	__u16 address[2];
	__u16 udp_source;
	__u16 udp_port;
	__u16 udp_len;
	__u16 udp_check;
	__u16 vxlan[4];
	__u8 inner_dst[6];
	__u8 inner_src[6];
	__u16 inner_type;
};

struct outer6 {
	__u8 dst[6];
	__u8 src[6];
	__u16 type;
	__u16 class[2]; /* version, traffic class, flow label */
	__u16 len;
	__u8 next;
	__u8 hops;
	__u16 source[8];
	__u16 address[8];
	__u16 udp_source;
	__u16 udp_port;
	__u16 udp_len;
	__u16 udp_check;
	__u16 vxlan[4];
	__u8 inner_dst[6];
	__u8 inner_src[6];
	__u16 inner_type;
};

_Static_assert(sizeof(struct outer4) == 64, "outer4");
_Static_assert(sizeof(struct outer6) == 84, "outer6");

enum {
	ROOM4 = IP4_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN,
	ROOM6 = IP6_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN,
};

/* Adds up 16-bit words in the order they lie in memory; RFC 1071 lets the byte order be. */
inline_always __u16 header_sum(const __u16 *h)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < IP4_LEN / 2; i++)
		sum += h[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

inline_always __u32 below(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

inline_always __u16 source_port(__u32 hash, bool ipv6)
{
	if (ipv6 && settings.source_listed6)
		return settings.source_ports6[below(hash, settings.source_listed6) & (MAX_SOURCE_PORTS - 1)];
	if (!ipv6 && settings.source_listed4)
		return settings.source_ports4[below(hash, settings.source_listed4) & (MAX_SOURCE_PORTS - 1)];
	return be16(settings.source_first + below(hash, settings.source_count));
}

/* The lower half of a word as it lies in memory, and the upper one. */
inline_always __u16 first_half(__u32 w)
{
	return be16(be32(w) >> 16);
}

inline_always __u16 second_half(__u32 w)
{
	return be16(be32(w));
}

/* A frame that came out of a tunnel on this machine, and that a workload routed, still counts as wrapped up, and the kernel refuses to do it again (EALREADY).
 * Where it notes of the tunnel what it would note of ours, Ethernet frames that begin where this one does, room is all that is missing.
 */
inline_always bool make_room_again(struct __sk_buff *skb, __u32 room)
{
	const struct sk_buff *s = bpf_cast_to_kern_ctx(skb);

	if (s->inner_network_header != s->network_header || s->inner_mac_header + ETH_LEN != s->network_header || s->inner_protocol != be16(ETH_TEB) ||
	    (skb->gso_size && !tunnels_own(skb)))
		return false;
	return !bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Writes the sum of the pseudo-header (RFC 768, RFC 8200 section 8.1) where the kernel will cut a superframe with checksums, as it would have that tunnel's. */
inline_always bool sum_again(struct __sk_buff *skb, __u32 room)
{
	bool ipv6 = room == ROOM6;
	__u32 udp = ETH_LEN + (ipv6 ? IP6_LEN : IP4_LEN), addresses = ipv6 ? 32 : 8, sum = be16(PROTO_UDP);
	__u16 word;

	if (!skb->gso_size || !(gso_type(skb) & SKB_GSO_UDP_TUNNEL_CSUM))
		return true;
	for (__u32 i = 0; i < 34; i += 2) { /* addresses, and the length behind the ports */
		__u32 at = i < addresses ? udp - addresses + i : udp + 4;

		if (bpf_skb_load_bytes(skb, at, &word, sizeof(word)))
			return false;
		sum += word;
		if (i == addresses)
			break;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	word = (sum & 0xffff) + (sum >> 16);
	return !bpf_skb_store_bytes(skb, udp + 6, &word, sizeof(word), 0);
}

/* Makes room for outer headers. again: a tunnel's own notes serve. */
inline_always bool make_room(struct __sk_buff *skb, __u32 room, __u64 outer, bool same_family, bool *again)
{
	const __u64 encap = BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_LEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	long err = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | encap | outer);

	*again = err == -EALREADY && same_family;
	return *again ? make_room_again(skb, room) : !err;
}

/* Wraps a frame up for a peer. Returns the program's answer, or -1 when the frame is as it was. */
inline_always int encapsulate(struct __sk_buff *skb, const struct job *j, bool ingress)
{
	struct peer *p = &j->way->peer;
	const struct domain *d = &j->way->domain;
	struct bpf_redir_neigh hop = {};
	struct tunnel_key nowhere = {};
	__u32 hash = bpf_get_hash_recalc(skb);
	__u8 tos = d->tos, ecn = j->in.tos & ECN_MASK, ttl = d->ttl;
	bool again;

	if (d->flags & DOMAIN_INHERIT_DSCP)
		tos = j->in.tos & ~ECN_MASK;
	if (ecn == ECN_CE && d->flags & DOMAIN_ECN_LINUX)
		ecn = ECN_ECT0;
	tos |= ecn;
	if (d->flags & DOMAIN_INHERIT_TTL && j->in.ttl)
		ttl = j->in.ttl;
	hop.nh_family = p->next_hop_family;
	for (int i = 0; i < 4; i++)
		hop.nh[i] = p->next_hop[i];

	if (!p->ipv6) {
		struct outer4 h = {};

		h.udp_source = source_port(hash, false);
		if (!make_room(skb, ROOM4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, j->front.type == be16(ETH_IP4), &again))
			return -1;
		copy_mac(h.dst, j->front.dst);
		copy_mac(h.src, j->front.src);
		h.type = be16(ETH_IP4);
		h.version = 0x45;
		h.tos = tos;
		h.len = be16(j->len + IP4_LEN + UDP_LEN + VXLAN_LEN);
		h.fragment = be16(0x4000); /* do not fragment */
		h.ttl = ttl;
		h.proto = PROTO_UDP;
		h.source[0] = first_half(p->source.word[3]);
		h.source[1] = second_half(p->source.word[3]);
		h.address[0] = first_half(p->address.word[3]);
		h.address[1] = second_half(p->address.word[3]);
		h.check = ~header_sum((__u16 *)&h.version);
		h.udp_port = p->udp_port;
		h.udp_len = be16(j->len + UDP_LEN + VXLAN_LEN);
		h.vxlan[0] = be16(0x0800);
		h.vxlan[2] = be16(j->way->vni >> 8);
		h.vxlan[3] = be16(j->way->vni << 8);
		copy_mac(h.inner_dst, j->front.dst);
		copy_mac(h.inner_src, j->front.src);
		h.inner_type = j->front.type;
		if (bpf_skb_store_bytes(skb, 0, &h, sizeof(h), 0) || (again && !sum_again(skb, ROOM4)))
			return TCX_DROP;
	} else {
		struct outer6 h = {};

		h.udp_source = source_port(hash, true);
		if (!make_room(skb, ROOM6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, j->front.type == be16(ETH_IP6), &again))
			return -1;
		copy_mac(h.dst, j->front.dst);
		copy_mac(h.src, j->front.src);
		h.type = be16(ETH_IP6);
		/* A flow label by inner flow, for routers that spread by it (RFC 6438). */
		h.class[0] = be16(0x6000 | tos << 4 | (hash >> 16 & 0xf));
		h.class[1] = be16(hash);
		h.len = be16(j->len + UDP_LEN + VXLAN_LEN);
		h.next = PROTO_UDP;
		h.hops = ttl;
		for (int i = 0; i < 4; i++) {
			h.source[2 * i] = first_half(p->source.word[i]);
			h.source[2 * i + 1] = second_half(p->source.word[i]);
			h.address[2 * i] = first_half(p->address.word[i]);
			h.address[2 * i + 1] = second_half(p->address.word[i]);
		}
		h.udp_port = p->udp_port;
		h.udp_len = be16(j->len + UDP_LEN + VXLAN_LEN);
		h.vxlan[0] = be16(0x0800);
		h.vxlan[2] = be16(j->way->vni >> 8);
		h.vxlan[3] = be16(j->way->vni << 8);
		copy_mac(h.inner_dst, j->front.dst);
		copy_mac(h.inner_src, j->front.src);
		h.inner_type = j->front.type;
		if (bpf_skb_store_bytes(skb, 0, &h, sizeof(h), 0) || (again && !sum_again(skb, ROOM6)))
			return TCX_DROP;
	}
	/* A frame that leaves a local socket through a TAP still has the overlay's route on it. Should it have to wait for the neighbour's address, the kernel
	 * would go on by that route afterwards (neigh_update), and ask for the peer inside the overlay. A tunnel key takes the route's place, and leads nowhere;
	 * without a next hop the kernel looks up a new route, which takes longer.
	 */
	if (!ingress && bpf_skb_set_tunnel_key(skb, &nowhere, sizeof(nowhere), 0))
		return bpf_redirect_neigh(p->ifindex, 0, 0, 0);
	return bpf_redirect_neigh(p->ifindex, &hop, sizeof(hop), 0);
}

/* Carries a frame that was judged TO_PEER or TO_PORT. Returns the program's answer, or -1 when the frame is as it was. */
inline_always int carry(struct __sk_buff *skb, const struct job *j, __u32 verdict, bool ingress)
{
	const struct port_way *w = j->way;
	__u32 tci = skb->vlan_tci, mark = skb->mark, arrived = j->in.bytes;
	bool tagged = skb->vlan_present;
	int answer;

	if (tagged) {
		/* A port counts what arrived there: with the tag. */
		arrived += 4 * j->in.packets;
		if (bpf_skb_vlan_pop(skb))
			return -1;
	}
	/* What the sender's host marked is not for the receiver's, where both are one. */
	skb->mark = 0;
	if (verdict == TO_PEER)
		answer = encapsulate(skb, j, ingress);
	else
		answer = to_device(skb, &w->to, w->vid ? (w->vid | (tagged ? tci & PRIORITY_MASK : 0)) : 0, j->front.dst, ingress);
	if (answer < 0) {
		skb->mark = mark;
		if (tagged && bpf_skb_vlan_push(skb, be16(ETH_8021Q), tci))
			return TCX_DROP;
		return -1;
	}
	if (answer == TCX_DROP) {
		tally(RACE, j->in.packets);
		return answer;
	}
	if (!j->recalled && w->known) {
		struct fdb_value *source = find(w->vni, j->front.src);

		if (source && source->place == w->port.index)
			refresh(source);
	}
	tally(verdict, j->in.packets);
	count(&port_counters, w->port.index, j->in.packets, arrived, 0, 0);
	if (verdict == TO_PEER) {
		count(&vni_counters, w->domain.slot, j->in.packets, arrived, j->in.packets, j->in.bytes);
		count(&peer_counters, w->place & ~PLACE_PEER, 0, 0, j->in.packets, j->in.bytes);
	} else {
		count(&vni_counters, w->domain.slot, j->in.packets, arrived, j->in.packets, arrived);
		count(&port_counters, w->to.index, 0, 0, j->in.packets, arrived);
	}
	return answer;
}

/* Frames that leave the stack through a TAP, toward user space. */
inline_always int from_tap(struct __sk_buff *skb)
{
	struct job j;
	__u32 v = judge_and_tell(skb, &j, false);
	int answer;

	if (v <= TO_PORT) {
		answer = carry(skb, &j, v, false);
		if (answer >= 0)
			return answer;
		v = REFUSED;
	}
	tally(v, 1);
	return TCX_NEXT;
}

/* Frames that come in on a device that user space reads by a packet socket. The socket's filter has decided right before, on this CPU: what it kept is
 * dropped here, for the host's stack must not see it; what it left alone is carried. Should that not work after all, the frame comes in once
 * more, with a mark that makes the filter keep it. A frame that no filter has seen is the socket's, unless its process has died.
 */
inline_always int from_device(struct __sk_buff *skb)
{
	__u32 zero = 0, v;
	struct judgement *said = bpf_map_lookup_elem(&judged, &zero);
	struct job j;
	bool asked;
	int answer;

	if (!said)
		return TCX_DROP;
	asked = !settings.alone && said->ifindex == skb->ifindex && said->len == skb->len;
	v = said->verdict;
	said->ifindex = 0;
	if (asked && v > TO_PORT) {
		tally(v, 1);
		return TCX_DROP;
	}
	v = judge(skb, &j, false, asked);
	if (!asked && !settings.alone && !(j.way && j.way->port.filtered))
		return TCX_DROP;
	if (v <= TO_PORT && !j.way->known)
		v = announce(v, j.way->vni, j.front.src, j.way->port.serial, false);
	if (v <= TO_PORT) {
		answer = carry(skb, &j, v, true);
		if (answer >= 0)
			return answer;
		v = REFUSED;
	}
	if (!asked) {
		tally(v, 1);
		return TCX_DROP;
	}
	skb->mark = settings.mark;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Which frames a packet socket keeps: those that the tcx program on the same device will not take. */
inline_always int keep(struct __sk_buff *skb)
{
	__u32 zero = 0, v = GIVEN_BACK;
	struct judgement *say = bpf_map_lookup_elem(&judged, &zero);
	struct job j;

	if (skb->pkt_type == PACKET_OUTGOING)
		return 0;
	if (skb->mark != settings.mark)
		v = judge_and_tell(skb, &j, true);
	if (say) {
		say->ifindex = skb->ifindex;
		say->len = skb->len;
		say->verdict = v;
	} else {
		v = GIVEN_BACK;
	}
	return v <= TO_PORT ? 0 : -1;
}

#endif
