package xdp

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Capability is one thing that the kernel has, or why not.
type Capability struct {
	Name   string
	On     bool
	Reason string // empty when On
}

// Capabilities is what the kernel lets this process do. What can be tried was; nothing is concluded from a version.
type Capabilities struct {
	BPF           Capability // load programs
	TCX           Capability // attach them to devices (Linux 6.6)
	BTF           Capability // the kernel tells where its own structures have their fields, and lets programs read them (Linux 6.2, CONFIG_DEBUG_INFO_BTF)
	XDP           Capability // load programs that run in drivers
	RedirectPeer  Capability // into another namespace (Linux 5.10)
	RedirectNeigh Capability // with neighbour resolution (Linux 5.10)
	SwitchFamily  Capability // unwrap IPv4 out of IPv6 and the other way round (Linux 6.3)
	FlowCache     Capability // programs run to their end before another one begins on their CPU, and may keep there what they decided
}

// List is all of them in a fixed order.
func (c *Capabilities) List() []Capability {
	return []Capability{c.BPF, c.TCX, c.BTF, c.XDP, c.RedirectPeer, c.RedirectNeigh, c.SwitchFamily, c.FlowCache}
}

// Probe tries what the kernel lets this process do, and remembers what the kernel has and has not. What failed for another reason, a policy that forbids it or want of
// memory, is tried again the next time.
func Probe() Capabilities { return probed.ask() }

var probed probing

// probing remembers.
type probing struct {
	mu    sync.Mutex
	known bool
	found Capabilities
}

func (p *probing) ask() Capabilities {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		p.found, p.known = probe()
	}
	return p.found
}

// probe says as well whether the answers are the kernel's, so that they are the same another time.
func probe() (c Capabilities, lasting bool) {
	lasting = true
	name := func(name string, err error) Capability {
		if err != nil {
			lasting = lasting && errors.Is(err, ebpf.ErrNotSupported)
			return Capability{Name: name, Reason: err.Error()}
		}
		return Capability{Name: name, On: true}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, License: "MIT",
	})
	c.BPF = name("bpf", err)
	if err != nil {
		none := func(name string) Capability { return Capability{Name: name, Reason: "no bpf"} }
		c.TCX, c.BTF, c.XDP = none("tcx"), none("btf"), none("xdp")
		c.RedirectPeer, c.RedirectNeigh, c.SwitchFamily = none("redirect-peer"), none("redirect-neigh"), none("switch-family")
		c.FlowCache = none("flow-cache")
		return c, lasting
	}
	defer p.Close()
	c.TCX = name("tcx", probeTCX(p))
	c.BTF = name("btf", probeBTF())
	c.XDP = name("xdp", features.HaveProgramType(ebpf.XDP))
	c.RedirectPeer = name("redirect-peer", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectPeer))
	c.RedirectNeigh = name("redirect-neigh", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectNeigh))
	c.SwitchFamily = name("switch-family", probeSwitchFamily())
	c.FlowCache = Capability{Name: "flow-cache", On: true}
	if err := probeFlowCache(); err != nil { // by the kernel's name, which lasts
		c.FlowCache.On, c.FlowCache.Reason = false, err.Error()
	}
	return c, lasting
}

// probeBTF looks for what the programs are to be fitted to.
func probeBTF() error {
	types, err := kernelTypes().Kernel()
	if err != nil {
		return err
	}
	var cast *btf.Func
	if err := types.TypeByName("bpf_cast_to_kern_ctx", &cast); err != nil {
		return fmt.Errorf("bpf_cast_to_kern_ctx: %w", err)
	}
	return nil
}

// probeFlowCache asks whether the kernel is a real-time one, where softirqs are threads, and one may come between the instructions of another's program
// (PREEMPT_RT). That cannot be tried; it is in the kernel's name (init/Makefile).
func probeFlowCache() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	if v := unix.ByteSliceToString(u.Version[:]); strings.Contains(v, "PREEMPT_RT") {
		return fmt.Errorf("real-time kernel (%s)", v)
	}
	return nil
}

// probeTCX attaches to a device that does not exist: a kernel with tcx looks for the device.
func probeTCX(p *ebpf.Program) error {
	l, err := link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: p, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	return nil
}

// probeSwitchFamily takes the outer header off a frame of zeros that says it is IPv4, and asks for IPv6.
func probeSwitchFamily() error {
	const (
		shorter = -50
		mac     = 1        // BPF_ADJ_ROOM_MAC
		flags   = 1 | 1<<8 // BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_DECAP_L3_IPV6
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS,
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, shorter), asm.Mov.Imm(asm.R3, mac), asm.Mov.Imm(asm.R4, flags),
			asm.FnSkbAdjustRoom.Call(), asm.Return(),
		},
		License: "MIT",
	})
	if err != nil {
		return err
	}
	defer p.Close()
	frame := make([]byte, 200)
	frame[12], frame[14] = 0x08, 0x45
	answer, err := p.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		return err
	}
	if answer != 0 {
		return fmt.Errorf("adjust_room: %d: %w", int32(answer), ebpf.ErrNotSupported)
	}
	return nil
}
