// SPDX-License-Identifier: MIT OR GPL-2.0-only
//go:build ignore

/* The programs of the fast path. They carry what they can carry exactly as user space would; all else goes up to it unchanged. They decide no policy:
 * what they know is in the maps, and user space writes those.
 */
#include "from_port.h"
#include "from_wire.h"

char _license[] SEC("license") = "Dual MIT/GPL";

SEC("tcx/egress")
int vtepd_tap(struct __sk_buff *skb)
{
	return from_tap(skb);
}

SEC("tcx/ingress")
int vtepd_device(struct __sk_buff *skb)
{
	return from_device(skb);
}

SEC("tcx/ingress")
int vtepd_underlay(struct __sk_buff *skb)
{
	return from_underlay(skb);
}

SEC("tcx/ingress")
int vtepd_cell(struct __sk_buff *skb)
{
	return from_cell(skb);
}

SEC("xdp.frags")
int vtepd_bare(struct xdp_md *ctx)
{
	return bare(ctx);
}

SEC("socket")
int slow_only(struct __sk_buff *skb)
{
	return keep(skb);
}
