/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
//go:build ignore

/* Datagrams from the underlay. Ethernet' and IP' are the inner ones, whose ECN may have changed; off is the length of what stands in front of them.
 *
 *	                  |<------------ off ----------->|
 *	from_underlay in:  Ethernet | IP | UDP | VXLAN    | Ethernet' | IP' ...
 *	             out:                                   Ethernet' | IP' ...    to the port's device, with the VID that it wants
 *	        or, to a cell:            mark = VNI        Ethernet' | IP' ...    with the VNI's slot as VLAN tag
 *
 *	         bare in:  Ethernet | IP | UDP | VXLAN    | Ethernet' | IP' ...
 *	             out:              struct unwrapped   | Ethernet' | IP' ...    up the stack, with the VNI in the metadata
 *	from_underlay in:              struct unwrapped   | Ethernet' | IP' ...    perhaps joined with others since
 *	    from_cell in:                 mark = VNI        Ethernet' | IP' ...    likewise
 *	     both    out:                                   Ethernet' | IP' ...    to the port's device
 *
 * What is not for a VTEP of ours, or is user space's to judge, goes on as it came.
 */
#ifndef VTEPD_FROM_WIRE_H
#define VTEPD_FROM_WIRE_H

#include "frame.h"

/* The outer headers, as they come; each struct starts on the stack so that IP is aligned.
 *
 *	bytes:  2      14         20 or 40       8     8
 *	       align | Ethernet | IPv4 or IPv6 | UDP | VXLAN
 */
struct wire4 {
	__u16 align;
	__u8 eth[ETH_LEN];
	union {
		struct {
			__u8 version;
			__u8 tos;
			__u16 len;
			__u16 id;
			__u16 fragment;
			__u8 ttl;
			__u8 proto;
			__u16 check;
			__u32 source;
			__u32 address;
		};
		__u16 half[IP4_LEN / 2];
	};
	__u16 udp_source;
	__u16 udp_port;
	__u16 udp_len;
	__u16 udp_check;
	__u32 vxlan[2];
};

struct wire6 {
	__u16 align;
	__u8 eth[ETH_LEN];
	__u8 class[4];
	__u16 len;
	__u8 next;
	__u8 hops;
	struct address source;
	struct address address;
	__u16 udp_source;
	__u16 udp_port;
	__u16 udp_len;
	__u16 udp_check;
	__u32 vxlan[2];
};

_Static_assert(sizeof(struct wire4) == 2 + 50, "wire4");
_Static_assert(sizeof(struct wire6) == 2 + 70, "wire6");

/* A frame in a datagram, and where to. */
struct letter {
	struct front front;
	struct inside in;
	struct wire_way *way; /* one that is kept, or own */
	struct address source;
	__u32 off; /* of the inner frame, bytes from the outer one */
	__u32 len; /* of the inner frame */
	int ecn; /* that the inner header has to get, or -1 */
	__u8 outer_tos;
	bool no_checksum6;
	bool checksum; /* the outer header has one */
	struct wire_way own; /* where none are kept */
};

/* As many datagrams as the kernel joins, less one (UDP_MAX_SEGMENTS). */
enum { MAX_JOINED = 127 };

/* What is not for a VTEP of ours: it goes its way and is not counted. */
enum { NOT_OURS = NUM_VERDICTS };

inline_always bool same_address(const struct address *a, const struct address *b)
{
	return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) | (a->word[3] ^ b->word[3]));
}

/* Reads the outer headers of a frame of total bytes. Returns GO_ON, NOT_OURS or why it goes to user space. */
inline_always __u32 open_outer(void *ctx, bool xdp, bool ipv6, __u32 total, struct letter *l, __u32 *flags_vni)
{
	bool ours = false;

	if (!ipv6) {
		struct wire4 w;
		__u32 sum = 0;

		if (total < sizeof(w) - 2 || load(ctx, xdp, 0, w.eth, sizeof(w) - 2))
			return NOT_OURS;
		if (w.version != 0x45 || w.proto != PROTO_UDP || !our_udp_port(w.udp_port))
			return NOT_OURS;
#pragma unroll
		for (__u32 i = 0; i < MAX_LOCALS; i++)
			if (i < settings.locals4 && settings.local4[i] == w.address)
				ours = true;
		if (!ours || group(w.eth))
			return NOT_OURS;
#pragma unroll
		for (int i = 0; i < IP4_LEN / 2; i++)
			sum += w.half[i];
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		if (w.fragment & be16(0x3fff) || sum != 0xffff || be16(w.len) != total - ETH_LEN || be16(w.udp_len) != total - ETH_LEN - IP4_LEN)
			return ODD_OUTER;
		l->source.word[0] = 0;
		l->source.word[1] = 0;
		l->source.word[2] = be32(0xffff);
		l->source.word[3] = w.source;
		l->outer_tos = w.tos;
		l->no_checksum6 = false;
		l->checksum = w.udp_check;
		l->off = sizeof(w) - 2;
		flags_vni[0] = w.vxlan[0];
		flags_vni[1] = w.vxlan[1];
	} else {
		struct wire6 w;

		if (total < sizeof(w) - 2 || load(ctx, xdp, 0, w.eth, sizeof(w) - 2))
			return NOT_OURS;
		if (w.class[0] >> 4 != 6 || w.next != PROTO_UDP || !our_udp_port(w.udp_port))
			return NOT_OURS;
#pragma unroll
		for (__u32 i = 0; i < MAX_LOCALS; i++)
			if (i < settings.locals6 && settings.local6[i].word[3] == w.address.word[3] && settings.local6[i].word[2] == w.address.word[2] &&
			    settings.local6[i].word[1] == w.address.word[1] && settings.local6[i].word[0] == w.address.word[0])
				ours = true;
		if (!ours || group(w.eth))
			return NOT_OURS;
		if (be16(w.len) != total - ETH_LEN - IP6_LEN || w.udp_len != w.len)
			return ODD_OUTER;
		l->source = w.source;
		l->outer_tos = w.class[0] << 4 | w.class[1] >> 4;
		l->no_checksum6 = !w.udp_check;
		l->checksum = w.udp_check;
		l->off = sizeof(w) - 2;
		flags_vni[0] = w.vxlan[0];
		flags_vni[1] = w.vxlan[1];
	}
	l->len = total - l->off;
	return GO_ON;
}

/* Asks the maps which VNI a datagram belongs to, and whose it is: GO_ON, or why it goes to user space. */
apart __u32 admit(struct wire_way *w, bool no_checksum6)
{
	struct source_key key = {};
	struct source *from;
	struct domain *d;

	if (!w)
		return ODD_OUTER;
	w->vni = be32(w->vxlan[1]) >> 8;
	d = bpf_map_lookup_elem(&domains, &w->vni);
	if (!d)
		return NO_DOMAIN;
	w->domain = *d;
	d = &w->domain;
	if (d->flags & DOMAIN_TO_USER)
		return DOMAIN_POLICY;
	if (d->flags & DOMAIN_STRICT && (w->vxlan[0] != be32(0x08000000) || w->vxlan[1] & be32(0xff)))
		return ODD_VXLAN;
	if (no_checksum6 && !(d->flags & DOMAIN_ZERO6_RX))
		return UDP_CHECKSUM;
	key.vni = w->vni;
	key.address = w->source;
	from = bpf_map_lookup_elem(&sources, &key);
	if (!from)
		return UNKNOWN_PEER;
	w->peer = from->peer;
	w->serial = from->serial;
	return GO_ON;
}

inline_always __u32 look_up_port(struct wire_way *w)
{
	struct fdb_value *dst = find(w->vni, w->dst);
	__u32 place;

	if (!dst)
		return UNKNOWN_DESTINATION;
	place = dst->place;
	if (place & PLACE_PEER)
		return SAME_PLACE;
	return take_port(place, w->vni, &w->to, &w->vid);
}

/* Asks the maps where a frame from a peer goes: GO_ON, or why it goes to user space. */
apart __u32 look_up_letter(struct wire_way *w, bool xdp)
{
	struct fdb_value *src;
	__u32 place;

	if (!w)
		return UNKNOWN_SOURCE;
	src = find(w->vni, w->src);
	place = w->peer | PLACE_PEER;
	w->known = true;
	if (w->domain.flags & DOMAIN_LEARNING) {
		if (src && src->place == place)
			refresh(src);
		else if (xdp || !newcomer(w->domain.flags, w->serial, src, w->src, w->dst)) /* XDP leaves new ones to tcx, which comes next */
			return UNKNOWN_SOURCE;
		else
			w->known = false;
	} else if (src && src->flags & ENTRY_STATIC && src->place != place) {
		return UNKNOWN_SOURCE;
	}
	return look_up_port(w);
}

/* The same of a frame that was unwrapped before, whoever sent it. */
apart __u32 look_up_again(struct wire_way *w)
{
	struct domain *d;

	if (!w)
		return NO_DOMAIN;
	w->vni = w->vxlan[1];
	d = bpf_map_lookup_elem(&domains, &w->vni);
	if (!d)
		return NO_DOMAIN;
	w->domain = *d;
	return look_up_port(w);
}

/* What the maps have said of a way. */
apart __u64 said_of_letter(const struct wire_way *w)
{
	return w ? digest(&w->vni, __builtin_offsetof(struct wire_way, bulk) - __builtin_offsetof(struct wire_way, vni)) ^
			   digest(&w->domain, sizeof(*w) - __builtin_offsetof(struct wire_way, domain)) :
		   0;
}

/* Asks the maps once more about a datagram that was to be carried: GO_ON when they say the same. */
inline_always __u32 ask_again_of_letter(struct wire_way *w, bool xdp, bool no_checksum6)
{
	__u64 before = said_of_letter(w);
	__u32 v = admit(w, no_checksum6);

	if (v == GO_ON)
		v = look_up_letter(w, xdp);
	return v == GO_ON && said_of_letter(w) != before ? UNKNOWN_DESTINATION : v;
}

/* The same of a frame that was unwrapped before. */
inline_always __u32 ask_again_of_frame(struct wire_way *w)
{
	__u64 before = said_of_letter(w);
	__u32 v = look_up_again(w);

	return v == GO_ON && said_of_letter(w) != before ? UNKNOWN_DESTINATION : v;
}

/* Finds the place of a way; whether the way that is there is that of the frame in hand. */
inline_always bool recall_letter(struct letter *l, const __u32 *vxlan, struct validity *validity)
{
	struct wire_way *w;

	*validity = valid_now();
	if (settings.flow_cache) {
		/* A frame that was just unwrapped must not find the place of its datagram. */
		__u32 slot = way_slot(l->front.dst, l->front.src) ^ !vxlan[0];

		w = l->way = bpf_map_lookup_elem(&wire_ways, &slot);
		if (w && w->vxlan[0] == vxlan[0] && w->vxlan[1] == vxlan[1] && same_address(&w->source, &l->source) && same_mac(w->dst, l->front.dst) &&
		    same_mac(w->src, l->front.src)) {
			if (holds(&w->validity, validity))
				return true;
		} else if (w) {
			w->bulk = bpf_ktime_get_coarse_ns();
		}
	} else {
		w = l->way = &l->own;
		__builtin_memset(w, 0, sizeof(*w));
	}
	if (w) {
		empty(&w->validity);
		w->vxlan[0] = vxlan[0];
		w->vxlan[1] = vxlan[1];
		w->source = l->source;
		copy_mac(w->dst, l->front.dst);
		copy_mac(w->src, l->front.src);
	}
	return false;
}

/* Decides on a datagram without changing it: FROM_PEER, NOT_OURS, or why it goes to user space. The order is that of worker.wireStages. */
inline_always __u32 judge_datagram(void *ctx, bool xdp, bool ipv6, __u32 total, __u32 gso_size, struct letter *l)
{
	struct validity validity = {};
	struct wire_way *w;
	__u32 vxlan[2], v, ecn;
	bool ip, recalled;

	v = open_outer(ctx, xdp, ipv6, total, l, vxlan);
	if (v != GO_ON)
		return v;
	if (!(vxlan[0] & be32(0x08000000)))
		return ODD_VXLAN;
	ip = load_front(ctx, xdp, l->off, l->len, &l->front);
	if (!ip)
		__builtin_memset(&l->front, 0, sizeof(l->front));
	recalled = recall_letter(l, vxlan, &validity);
	w = l->way;
	if (!w)
		return ODD_OUTER;
	if (!recalled) {
		v = admit(w, l->no_checksum6);
		if (v != GO_ON)
			return v;
	} else if (l->no_checksum6 && !(w->domain.flags & DOMAIN_ZERO6_RX)) {
		return UDP_CHECKSUM;
	}
	if (!ip)
		return NOT_IP;
	if (group(l->front.dst))
		return GROUP_ADDRESS;
	if (group(l->front.src) || zero_mac(l->front.src))
		return BAD_SOURCE;
	v = look_inside(ctx, xdp, l->off, l->len, gso_size, w->domain.flags, false, &l->front, &l->in);
	if (v != GO_ON)
		return v;

	/* RFC 6040 4.2, figure 4. */
	ecn = l->outer_tos & ECN_MASK;
	l->ecn = -1;
	if (ecn == ECN_CE) {
		if (!(l->in.tos & ECN_MASK))
			return ECN_DROP;
		if ((l->in.tos & ECN_MASK) != ECN_CE)
			l->ecn = ECN_CE;
	} else if (ecn == 1 && (l->in.tos & ECN_MASK) == ECN_ECT0) {
		l->ecn = 1;
	}

	if (!recalled) {
		v = look_up_letter(w, xdp);
		if (v == GO_ON && disturbed(&w->validity, &validity))
			v = ask_again_of_letter(w, xdp, l->no_checksum6);
		if (v != GO_ON)
			return v;
	}
	if (l->in.largest > w->to.max_frame)
		return TOO_LARGE;
	if (l->in.mss) {
		struct peer *from = bpf_map_lookup_elem(&peers, &w->peer);

		if (to_be_clamped(&l->in, l->front.type, &w->domain, from ? from->max_frame : 0))
			return DOMAIN_POLICY;
	}
	if (!recalled && w->known)
		w->validity = validity;
	return FROM_PEER;
}

inline_always void count_arrival(const struct letter *l)
{
	count(&peer_counters, l->way->peer, l->in.packets, l->in.bytes, 0, 0);
	count(&vni_counters, l->way->domain.slot, l->in.packets, l->in.bytes, 0, 0);
}

/* Gives an unwrapped frame to a port. There is no way back from here. */
inline_always int deliver(struct __sk_buff *skb, const struct port *to, const struct domain *d, const struct inside *in, int vid, const __u8 *dst)
{
	int answer = to_device(skb, to, vid, dst, true);

	if (answer < 0 || answer == TCX_DROP) {
		tally(RACE, in->packets);
		return TCX_DROP;
	}
	tally(FROM_PEER, in->packets);
	count(&port_counters, to->index, 0, 0, in->packets, in->bytes);
	count(&vni_counters, d->slot, 0, 0, in->packets, in->bytes);
	return answer;
}

/* Writes the ECN field of the IP header behind the Ethernet header. An IPv4 header sums up to the same afterwards, so that a checksum over the whole packet
 * stays right; an IPv6 header does not.
 */
inline_always long set_ecn(struct __sk_buff *skb, const struct front *f, __u32 ecn)
{
	__u16 field = f->half[0];

	if (f->type == be16(ETH_IP4)) {
		field = (field & be16(0xfffc)) | be16(ecn);
		if (bpf_l3_csum_replace(skb, ETH_LEN + 10, f->half[0], field, 2))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_LEN, &field, sizeof(field), 0);
	}
	field = (field & be16(0xffcf)) | be16(ecn << 4);
	return bpf_skb_store_bytes(skb, ETH_LEN, &field, sizeof(field), BPF_F_RECOMPUTE_CSUM);
}

/* Sends a segment to where it is joined with its like. GRO compares VLAN tags and not marks: the tag keeps the segments of two VNIs apart, the mark says
 * which VNI it is.
 */
inline_always int into_cell(struct __sk_buff *skb, const struct cell *c, const struct letter *l)
{
	skb->mark = l->way->vni;
	skb->queue_mapping = bpf_get_smp_processor_id() + 1; /* a queue for each CPU, so that none waits for another */
	if (bpf_skb_vlan_push(skb, be16(ETH_8021Q), l->way->domain.slot)) {
		tally(RACE, 1);
		return TCX_DROP;
	}
	return bpf_redirect(c->ifindex, 0);
}

/* Whether a segment is to be joined. Without a memory all are: what is small must not overtake what is large. */
inline_always bool worth_joining(const struct letter *l)
{
	__u64 ns;

	if (!settings.flow_cache)
		return true;
	ns = bpf_ktime_get_coarse_ns();
	if (l->len > SMALL_SEGMENT)
		l->way->bulk = ns;
	return ns - l->way->bulk < BULK_OVER;
}

/* Whether this may be the VXLAN header of anybody who keeps to RFC 7348, and to its group policy and generic protocol extensions. */
inline_always bool vxlan_like(const __u8 *header)
{
	enum { GROUP = 0x80, VNI_VALID = 0x08, PROTOCOL = 0x04, OAM = 0x01 };

	return header[0] & VNI_VALID && !(header[0] & ~(GROUP | VNI_VALID | PROTOCOL | OAM)) && !header[7];
}

/* Whether a superframe is no one's, but several datagrams that UDP GSO or GRO joined, whose first says that it is as long as all of them: the others may
 * be of other VNIs and stations. Their VXLAN headers lie where a superframe's second segment begins, and are told by the flags and the reserved last byte.
 * Without checksum nothing is joined (udp_gro_receive_segment, udp_send_skb).
 */
inline_always bool joined_datagrams(struct __sk_buff *skb, const struct letter *l, __u32 gso_size)
{
	__u8 header[VXLAN_LEN];

	if (!l->checksum || tunnels_own(skb))
		return false;
	if (bpf_skb_load_bytes(skb, l->off - VXLAN_LEN + gso_size, header, sizeof(header)))
		return true;
	return vxlan_like(header);
}

/* What of a joined datagram says between which stations it is. */
struct joined {
	__u8 vxlan[VXLAN_LEN];
	__u8 dst[6];
	__u8 src[6];
	__u16 type;
	__u8 ip[IP4_LEN];
};

/* Takes note of datagrams of gso_size bytes that were joined behind the one at off: they were by their outer ports, which flows of many stations share. */
apart __u32 note_joined(struct __sk_buff *skb, __u32 off, __u32 gso_size)
{
	struct joined d;

	if (!skb)
		return 0;
	for (int i = 0; i < MAX_JOINED; i++) {
		__u8 proto;

		off += gso_size;
		if (bpf_skb_load_bytes(skb, off, &d, sizeof(d)) || !vxlan_like(d.vxlan))
			break;
		proto = d.ip[d.type == be16(ETH_IP6) ? 6 : 9];
		if ((d.type == be16(ETH_IP4) || d.type == be16(ETH_IP6)) && (proto == PROTO_TCP || proto == PROTO_UDP))
			behind_superframe(d.dst, d.src, proto, false, true);
	}
	return 0;
}

inline_always struct cell *cell_of(const struct __sk_buff *skb)
{
	__u32 slot = skb->ifindex % MAX_CELLS;

	return bpf_map_lookup_elem(&cells, &slot);
}

/* Whether somebody reads what goes to user space: a process that was killed has left its programs, but no socket. */
inline_always bool is_read(struct __sk_buff *skb, bool ipv6)
{
	if (settings.vrf)
		return is_alive();
	if (!ipv6) {
		struct sock4 s;

		return bpf_skb_load_bytes(skb, ETH_LEN + 12, &s, sizeof(s)) || is_socket(skb, &s, sizeof(s));
	} else {
		struct sock6 s;

		return bpf_skb_load_bytes(skb, ETH_LEN + 8, &s, sizeof(s)) || is_socket(skb, &s, sizeof(s));
	}
}

/* A datagram that comes in whole. */
inline_always int unwrap(struct __sk_buff *skb, bool ipv6)
{
	struct letter l;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__u32 gso_size = skb->gso_size, v;

	l.in.proto = 0;
	l.checksum = false;
	v = judge_datagram(skb, false, ipv6, skb->len, gso_size, &l);

	/* What is left of a superframe still counts as a tunnel's, and most devices' way out would cut it wrongly, as may any way to a device of the host; and
	 * its UDP kind cannot be told to a receiver that does not take superframes.
	 */
	if (v == FROM_PEER && gso_size && (l.in.proto != PROTO_TCP || l.way->to.kind == KIND_NETDEV || joined_datagrams(skb, &l, gso_size)))
		v = ODD_SUPERFRAME;
	if ((v == FROM_PEER || v == ODD_SUPERFRAME) && (l.in.proto == PROTO_TCP || l.in.proto == PROTO_UDP) &&
	    behind_superframe(l.front.dst, l.front.src, l.in.proto, false, v == ODD_SUPERFRAME) && v == FROM_PEER && is_read(skb, ipv6))
		v = BEHIND_SUPERFRAME;
	if (v == ODD_SUPERFRAME && l.checksum && !tunnels_own(skb))
		note_joined(skb, l.off - VXLAN_LEN, gso_size);
	if (v != FROM_PEER) {
		if (v != NOT_OURS)
			tally(v, 1);
		return TCX_NEXT;
	}
	if (l.front.type != (__u16)skb->protocol) {
		if (!settings.switch_family)
			return TCX_NEXT;
		flags |= ipv6 ? BPF_F_ADJ_ROOM_DECAP_L3_IPV4 : BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
	}
	/* User space hears of a new source before anybody else can. */
	if (!l.way->known) {
		v = announce(v, l.way->vni, l.front.src, l.way->serial, false);
		if (v != FROM_PEER) {
			tally(v, 1);
			return TCX_NEXT;
		}
	}
	if (bpf_skb_adjust_room(skb, ipv6 ? -(IP6_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN) : -(IP4_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN), BPF_ADJ_ROOM_MAC, flags)) {
		tally(REFUSED, 1);
		return TCX_NEXT;
	}
	count_arrival(&l);
	/* A checksum that the card computed does not cover the Ethernet header: nothing is to be recomputed for it. */
	if (bpf_skb_store_bytes(skb, 0, l.front.dst, ETH_LEN, 0) || (l.ecn >= 0 && set_ecn(skb, &l.front, l.ecn))) {
		tally(RACE, l.in.packets);
		return TCX_DROP;
	}
	if (l.in.proto == PROTO_TCP) {
		struct cell *c = cell_of(skb);

		if (c && c->underlay == skb->ifindex) {
			if (gso_size)
				c->whole = now();
			else if ((!c->whole || past(now(), c->whole, WHOLE_SECONDS)) && worth_joining(&l))
				return into_cell(skb, c, &l);
		}
	}
	return deliver(skb, &l.way->to, &l.way->domain, &l.in, l.way->vid, l.front.dst);
}

/* A frame that was unwrapped before, and that may have been joined with others since. */
inline_always int unwrapped_frame(struct __sk_buff *skb, __u32 vni)
{
	const __u32 vxlan[2] = {0, vni};
	struct validity validity = {};
	struct letter l;
	struct wire_way *w;
	bool recalled;

	l.in.packets = 1;
	__builtin_memset(&l.source, 0, sizeof(l.source));
	/* A tag that the device keeps beside the frame, where XDP could not see it: the datagram was another network's. */
	if (skb->vlan_present || !load_front(skb, false, 0, skb->len, &l.front) ||
	    look_inside(skb, false, 0, skb->len, skb->gso_size, 0, false, &l.front, &l.in) != GO_ON)
		goto race;
	recalled = recall_letter(&l, vxlan, &validity);
	w = l.way;
	if (!w)
		goto race;
	if (!recalled) {
		if (look_up_again(w) != GO_ON || (disturbed(&w->validity, &validity) && ask_again_of_frame(w) != GO_ON))
			goto race;
		w->validity = validity;
	}
	if (l.in.largest > w->to.max_frame)
		goto race;
	return deliver(skb, &w->to, &w->domain, &l.in, w->vid, l.front.dst);
race:
	tally(RACE, l.in.packets);
	return TCX_DROP;
}

/* What comes out of a cell. Frames without a tag are the kernel's own, about the device. */
inline_always int from_cell(struct __sk_buff *skb)
{
	__u32 vni = skb->mark;

	if (!skb->vlan_present)
		return TCX_DROP;
	skb->mark = 0;
	if (bpf_skb_vlan_pop(skb)) {
		tally(RACE, 1);
		return TCX_DROP;
	}
	return unwrapped_frame(skb, vni);
}

inline_always int from_underlay(struct __sk_buff *skb)
{
	struct unwrapped *meta = (void *)(unsigned long)skb->data_meta;
	__u8 *data = (void *)(unsigned long)skb->data;

	if ((void *)(meta + 1) <= (void *)data && meta->magic == UNWRAPPED_MAGIC)
		return meta->instance == settings.instance ? unwrapped_frame(skb, meta->vni) : TCX_NEXT;
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TCX_NEXT;
	if (skb->protocol == be16(ETH_IP4))
		return unwrap(skb, false);
	if (skb->protocol == be16(ETH_IP6))
		return unwrap(skb, true);
	return TCX_NEXT;
}

/* The same before the kernel has made an sk_buff of the datagram: the inner frame is laid bare, for the kernel to join with its like. */
inline_always int lay_bare(struct xdp_md *ctx, bool ipv6, __u32 total)
{
	const int off = ipv6 ? IP6_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN : IP4_LEN + UDP_LEN + VXLAN_LEN + ETH_LEN;
	struct letter l;
	__u32 v = judge_datagram(ctx, true, ipv6, total, 0, &l);
	struct unwrapped *meta;
	__u8 *data, *end;

	if (v != FROM_PEER) /* the tcx program comes to the same answer and counts it */
		return XDP_PASS;
	if (bpf_xdp_adjust_head(ctx, off))
		return XDP_PASS;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		goto back;
	data = (void *)(unsigned long)ctx->data;
	end = (void *)(unsigned long)ctx->data_end;
	meta = (void *)(unsigned long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)data || data + ETH_LEN + IP4_LEN > end)
		goto back;
	meta->magic = UNWRAPPED_MAGIC;
	meta->instance = settings.instance;
	meta->vni = l.way->vni;
	if (l.ecn >= 0) {
		__u16 *field = (__u16 *)(data + ETH_LEN), old = *field;

		if (l.front.type == be16(ETH_IP4)) {
			__u16 *check = (__u16 *)(data + ETH_LEN + 10);
			__u32 sum = (__u16)~*check + (__u16)~old; /* RFC 1624, equation 3 */

			*field = (old & be16(0xfffc)) | be16(l.ecn);
			sum += *field;
			sum = (sum & 0xffff) + (sum >> 16);
			sum = (sum & 0xffff) + (sum >> 16);
			*check = ~sum;
		} else {
			*field = (old & be16(0xffcf)) | be16(l.ecn << 4);
		}
	}
	count_arrival(&l);
	return XDP_PASS;
back:
	bpf_xdp_adjust_head(ctx, -off);
	return XDP_PASS;
}

inline_always int bare(struct xdp_md *ctx)
{
	__u8 *data = (void *)(unsigned long)ctx->data;
	__u8 *end = (void *)(unsigned long)ctx->data_end;
	__u32 total, slot = ctx->ingress_ifindex & (MAX_UNDERLAYS - 1);
	struct underlay *u = bpf_map_lookup_elem(&underlays, &slot);

	if (data + ETH_LEN > end || !u || u->ifindex != ctx->ingress_ifindex || !same_mac(data, u->mac))
		return XDP_PASS;
	total = bpf_xdp_get_buff_len(ctx);
	if (*(__u16 *)(data + 12) == be16(ETH_IP4))
		return lay_bare(ctx, false, total);
	if (*(__u16 *)(data + 12) == be16(ETH_IP6))
		return lay_bare(ctx, true, total);
	return XDP_PASS;
}

#endif
