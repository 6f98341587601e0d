package xdp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// errRefused is the reason where the kernel cannot be made to refuse by itself.
var errRefused = errors.New("refused by a test")

// probe is Probe without what is refused.
func (r *Refuse) probe() Capabilities {
	c := Probe()
	for _, one := range []*Capability{&c.BPF, &c.TCX, &c.BTF, &c.XDP, &c.RedirectPeer, &c.RedirectNeigh, &c.SwitchFamily, &c.FlowCache} {
		if slices.Contains(r.Capabilities, one.Name) {
			one.On, one.Reason = false, errRefused.Error()
		}
	}
	return c
}

// spoil changes what is refused so that the kernel does it.
func (r *Refuse) spoil(spec *ebpf.CollectionSpec) {
	const noSuchType = 9999
	for _, name := range r.Maps {
		spec.Maps[name].Type = noSuchType
	}
	for _, name := range r.Programs {
		spec.Programs[name].Instructions = asm.Instructions{asm.Return().WithSymbol(name)} // without an answer
	}
}

// place says no where nothing can be attached.
func (r *Refuse) place(p place) error {
	if slices.Contains(r.Places, pinWords[p.hook]) {
		return fmt.Errorf("%w: %w", ErrUnsupported, errRefused)
	}
	return nil
}
