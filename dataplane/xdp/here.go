package xdp

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// xdpAttachedMulti is XDP_ATTACHED_MULTI of <linux/if_link.h>: programs in the driver and in front of the stack.
const xdpAttachedMulti = 4

// here says whether the link is on the device of that number in the calling thread's namespace: of itself it tells the number alone, which devices of other
// namespaces have too. A process may be killed in one and follow in another.
func (a *attachment) here(p place) bool {
	info, err := a.link.Info()
	if err != nil || !a.alive(p) {
		return false
	}
	if p.hook == hookXDP {
		l, err := netlink.LinkByIndex(p.ifindex)
		if err != nil || l.Attrs().Xdp == nil {
			return false
		}
		// With a program of somebody else's in front of the stack the number of neither is told.
		x := l.Attrs().Xdp
		return x.AttachMode == xdpAttachedMulti || x.ProgId == uint32(info.Program)
	}
	at := ebpf.AttachTCXIngress
	if p.hook == Egress {
		at = ebpf.AttachTCXEgress
	}
	there, err := link.QueryPrograms(link.QueryOptions{Target: p.ifindex, Attach: at})
	return err == nil && slices.ContainsFunc(there.Programs, func(x link.AttachedProgram) bool {
		id, ok := x.LinkID()
		return ok && id == info.ID
	})
}
