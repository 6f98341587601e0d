package xdp

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// heldPlace is a link that holds a place for a program of ours.
type heldPlace struct{ link link.Link }

// holder makes one of a descriptor, which belongs to it. -1, or what is no link, holds nothing.
func holder(fd int) (h heldPlace) {
	if fd >= 0 {
		h.link, _ = link.NewFromFD(fd) // which closes what is no link
	}
	return h
}

// first says whether the link is before everything else at the ingress of a device.
func (h *heldPlace) first(p place) bool {
	if h == nil || h.link == nil || p.hook != Ingress || !(&attachment{link: h.link}).alive(p) {
		return false
	}
	info, err := h.link.Info()
	if err != nil {
		return false
	}
	there, err := link.QueryPrograms(link.QueryOptions{Target: p.ifindex, Attach: ebpf.AttachTCXIngress})
	if err != nil || len(there.Programs) == 0 {
		return false
	}
	id, ok := there.Programs[0].LinkID()
	return ok && id == info.ID
}

// take gives the link away.
func (h *heldPlace) take() link.Link {
	l := h.link
	h.link = nil
	return l
}

// Close closes what was not taken.
func (h *heldPlace) Close() {
	if h.link != nil {
		_ = h.link.Close()
	}
}
