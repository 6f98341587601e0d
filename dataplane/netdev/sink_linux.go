package netdev

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sinkName is the name of the program, as `bpftool net` and `tc filter` show it.
const sinkName = "vtepd_sink"

// drop is TCX_DROP of tcx, and TC_ACT_SHOT of cls_bpf.
const drop = 2

// sinkPriority is the preference of the cls_bpf filter: before everybody's who does not ask for more.
const sinkPriority = 1

// sink is what drops everything that an interface receives, once the packet sockets have it.
type sink struct {
	program *ebpf.Program
	tcx     link.Link // nil: cls_bpf holds the program
	ifindex int
	clsact  bool // the qdisc was added by us
}

// sinkProgram is
//
//	return TCX_DROP;
func sinkProgram() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         sinkName,
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, drop), asm.Return()},
		License:      "GPL",
	})
}

// newSink puts the program at the ingress of an interface of the calling thread's namespace, in front of everything else there: as a tcx link, which
// goes with this process however that ends, or else as a filter of a clsact qdisc, which has to be removed. reason says why it is not the first.
func newSink(ifindex int, r Refuse) (s *sink, reason string, err error) {
	program, err := sinkProgram()
	if err != nil {
		return nil, "", fmt.Errorf("load %s: %w", sinkName, err)
	}
	defer func() {
		if err != nil {
			program.Close()
		}
	}()
	s = &sink{program: program, ifindex: ifindex}
	tcxErr := error(ebpf.ErrNotSupported)
	if !r.TCX {
		s.tcx, tcxErr = link.AttachTCX(link.TCXOptions{
			Interface: ifindex, Program: program, Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
		})
	}
	if tcxErr == nil {
		return s, "", nil
	}
	if err := s.attachFilter(r); err != nil {
		return nil, "", fmt.Errorf("tcx: %w; cls_bpf: %w", tcxErr, err)
	}
	return s, fmt.Sprintf("the host's stack is shut out by a tc filter, which outlives a crash of vtepd: tcx: %v", tcxErr), nil
}

// inheritSink makes a sink of a tcx link at the ingress of an interface, by a copy of its descriptor.
func inheritSink(ifindex, tcx int, r Refuse) (_ *sink, err error) {
	if r.TCX {
		return nil, ebpf.ErrNotSupported
	}
	copied, err := unix.FcntlInt(uintptr(tcx), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	l, err := link.NewFromFD(copied) // the descriptor is closed if that fails
	if err != nil {
		return nil, err
	}
	program, err := sinkProgram()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load %s: %w", sinkName, err), l.Close())
	}
	if err := l.Update(program); err != nil {
		return nil, errors.Join(err, l.Close(), program.Close())
	}
	return &sink{program: program, tcx: l, ifindex: ifindex}, nil
}

// lend is a copy of the descriptor of the tcx link, -1 where there is none.
func (s *sink) lend() int {
	l, ok := s.tcx.(interface{ FD() int })
	if !ok {
		return -1
	}
	fd, err := unix.FcntlInt(uintptr(l.FD()), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1
	}
	return fd
}

// takeBack puts the sink's program into its link again, which was lent.
func (s *sink) takeBack() error {
	if s.tcx == nil {
		return fmt.Errorf("a tc filter lends nothing: %w", ebpf.ErrNotSupported)
	}
	return s.tcx.Update(s.program)
}

// attachFilter is the way before tcx. A filter that a process left which did not end well is replaced.
func (s *sink) attachFilter(r Refuse) error {
	if r.ClsBPF {
		return unix.EOPNOTSUPP
	}
	found, err := s.filters()
	if err != nil {
		return err
	}
	s.clsact = found.leftover
	if !found.clsact {
		if err := netlink.QdiscAdd(s.qdisc()); err != nil {
			return fmt.Errorf("add clsact: %w", err)
		}
		s.clsact = true
	}
	if err := netlink.FilterReplace(s.filter()); err != nil {
		if s.clsact && !found.clsact {
			err = errors.Join(err, netlink.QdiscDel(s.qdisc()))
		}
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

func (s *sink) qdisc() *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: s.ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

func (s *sink) filter() *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: s.ifindex, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: sinkPriority,
		},
		Fd: s.program.FD(), Name: sinkName, DirectAction: true,
	}
}

// filtersFound is what is at the hooks of an interface already.
type filtersFound struct {
	clsact   bool // the qdisc
	leftover bool // a sink's filter
	others   bool // somebody else's filters, either direction
}

func (s *sink) filters() (f filtersFound, err error) {
	dev, err := netlink.LinkByIndex(s.ifindex)
	if err != nil {
		return f, err
	}
	qdiscs, err := netlink.QdiscList(dev)
	if err != nil {
		return f, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		switch q.Type() {
		case "clsact":
			f.clsact = true
		case "ingress":
			return f, errors.New("the interface has an ingress qdisc, which is in the way of clsact: `tc qdisc del dev NAME ingress`")
		}
	}
	if !f.clsact {
		return f, nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := netlink.FilterList(dev, parent)
		if err != nil {
			return f, fmt.Errorf("list filters: %w", err)
		}
		for _, one := range list {
			if b, ok := one.(*netlink.BpfFilter); ok && b.Name == sinkName {
				f.leftover = true
			} else {
				f.others = true
			}
		}
	}
	return f, nil
}

// spare gives up the descriptor that is not needed to drop, nor to stop doing so. A sink that is not there has none.
func (s *sink) spare() {
	if s != nil && s.tcx != nil {
		s.program.Close()
	}
}

// detach is close, also where somebody else holds the link: whoever lists the kernel's links holds each for a moment.
func (s *sink) detach() error {
	var err error
	if s.tcx != nil {
		if err = s.tcx.Detach(); errors.Is(err, unix.ENOLINK) { // it went with the interface
			err = nil
		}
	}
	return errors.Join(err, s.close())
}

// close removes the program, unless the link was lent. An interface that is gone took it along.
func (s *sink) close() error {
	defer s.program.Close()
	if s.tcx != nil {
		return s.tcx.Close()
	}
	err := netlink.FilterDel(s.filter())
	if found, e := s.filters(); e == nil && s.clsact && found.clsact && !found.others && !found.leftover {
		err = errors.Join(err, netlink.QdiscDel(s.qdisc()))
	}
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
