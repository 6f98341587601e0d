package xdp

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Hook says where on a port's device the program goes.
type Hook uint8

const (
	// Ingress is for devices of the host: veth, netdev.
	Ingress Hook = iota
	// Egress is for TAPs.
	Egress
	hookUnderlay
	hookXDP
	hookCell
)

func (h Hook) String() string {
	return [...]string{"tcx ingress", "tcx egress", "tcx ingress", "xdp", "tcx ingress"}[h]
}

// place is where a program can be attached. Its pin is named after it.
type place struct {
	ifindex int
	hook    Hook
}

var pinWords = [...]string{Ingress: "port-ingress", Egress: "port-egress", hookUnderlay: "underlay", hookXDP: "xdp", hookCell: "cell"}

func (p place) pinName() string { return fmt.Sprintf("%s-%d", pinWords[p.hook], p.ifindex) }

// attachment is a program at its place.
type attachment struct {
	link  link.Link
	taken bool // over from a former process
	gro   bool // of the device is to be switched off afterwards
}

// Attachment is one attached program, for status.
type Attachment struct {
	Ifindex  int
	Hook     string // "tcx ingress", "tcx egress" or "xdp"
	Underlay bool
	Taken    bool // over from a former process
}

// Attachments lists what is attached, by device.
func (f *FastPath) Attachments() []Attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Attachment, 0, len(f.attached))
	for p, a := range f.attached {
		if p.hook == hookCell {
			continue // the inside of ours
		}
		list = append(list, Attachment{Ifindex: p.ifindex, Hook: p.hook.String(), Underlay: p.hook >= hookUnderlay, Taken: a.taken})
	}
	slices.SortFunc(list, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Hook, b.Hook))
	})
	return list
}

// AttachPort puts the program for frames from a port on its device, before everything else that is there on ingress; the program of a former
// process goes without a moment of neither. Doing it twice changes nothing.
//
// over is a descriptor of a tcx link that holds the place for it, -1: none. It belongs to AttachPort. Where that link is the first there, ours takes the place
// of its program in one step: to attach one program and to detach the other would have the kernel wait for its readers twice, and everybody else for it.
func (f *FastPath) AttachPort(ifindex int, at Hook, over int) error {
	held := holder(over)
	defer held.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if at > Egress {
		return fmt.Errorf("hook %d: %w", at, ErrInvalid)
	}
	if _, err := ethernetDevice(ifindex); err != nil {
		return err
	}
	return f.attachOver(place{ifindex, at}, &held)
}

// DetachPort takes the program off a port's device. One that is not there, or whose device has gone, is no error. Before that heir, if it is not nil, is
// given a descriptor of the link at the ingress, -1: there is none. When it says that it has put a program of its own there, and has the link by a
// descriptor of its own, the link stays.
func (f *FastPath) DetachPort(ifindex int, heir func(link int) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	p := place{ifindex, Ingress}
	if heir == nil {
		return errors.Join(f.detach(p), f.detach(place{ifindex, Egress}))
	}
	a, fd := f.attached[p], -1
	if a != nil {
		if l, ok := a.link.(interface{ FD() int }); ok {
			fd = l.FD()
		}
	}
	if !heir(fd) || a == nil {
		return f.detach(p)
	}
	delete(f.attached, p)
	if err := errors.Join(ignoreMissing(a.link.Unpin()), a.link.Close()); err != nil {
		return fmt.Errorf("%s of ifindex %d: %w", p.hook, p.ifindex, err)
	}
	return nil
}

// Decap is how datagrams of an underlay device are unwrapped.
type Decap struct {
	Mode   string // "tcx", "tcx+gro" or "xdp+tcx"
	Reason string // why it is not a better one for this device; empty when it is the best
}

// AttachUnderlay puts the programs for datagrams on a device. With Options.Decap Auto they have inner segments joined where that pays: by XDP before the
// device's own GRO, or in a cell. XDP costs least, but on a virtual device it would copy each frame and end superframes: while such a device's
// segmentation offload is on there is nothing to join, and while it is off a cell does it. Only where a virtual device's own GRO is on, which would join
// datagrams before tcx sees them, XDP goes before it; never on a veth, where it would leave outer checksums unfinished that the inner frame knows nothing of. A device that others stand on (VLAN, macvlan ...) never gets XDP, which cannot tell what
// is theirs. Where the one is refused, the other is tried.
//
// Called again it judges the device anew, follows a change of its MAC, and changes between the ways without a gap.
func (f *FastPath) AttachUnderlay(ifindex int) (Decap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Decap{}, ErrClosed
	}
	dev, err := ethernetDevice(ifindex)
	if err != nil {
		return Decap{}, err
	}
	// tcx first, and off last: an inner frame that XDP laid bare must never reach the host's stack.
	if err := f.attach(place{ifindex, hookUnderlay}); err != nil {
		return Decap{}, err
	}
	joiners, reason := f.joiners(ifindex)
	var reasons []string
	if reason != "" {
		reasons = []string{reason}
	}
	for _, by := range joiners {
		if by == byCell {
			if err := f.enterCell(ifindex); err != nil {
				reasons = append(reasons, err.Error())
				continue
			}
			return Decap{Mode: "tcx+gro", Reason: strings.Join(reasons, "; ")}, f.detach(place{ifindex, hookXDP})
		}
		reason := f.whyNoXDP(ifindex)
		if reason == "" {
			reason = f.layBare(ifindex, dev.Attrs().HardwareAddr)
		}
		if reason == "" {
			return Decap{Mode: "xdp+tcx", Reason: strings.Join(reasons, "; ")}, f.leaveCell(ifindex)
		}
		reasons = append(reasons, reason)
	}
	if err := errors.Join(f.leaveCell(ifindex), f.detach(place{ifindex, hookXDP})); err != nil {
		return Decap{}, err
	}
	return Decap{Mode: "tcx", Reason: strings.Join(reasons, "; ")}, nil
}

// wantGRO switches generic receive offload on, which is what XDP is used for and which virtual devices have off at first. It is remembered, over
// the end of the process too, so that the device is given back as it was. Needs mu.
func (f *FastPath) wantGRO(ifindex int) {
	a := f.attached[place{ifindex, hookXDP}]
	changed, err := switchGRO(ifindex, true)
	if err != nil {
		f.log.Warn("no GRO on the underlay: inner segments are not joined", "ifindex", ifindex, "error", err)
	}
	if f.pins == nil {
		a.gro = a.gro || changed
		return
	}
	if changed {
		if err := f.pins.mark(ifindex); err != nil {
			f.log.Warn("a successor will not know that GRO was off", "ifindex", ifindex, "error", err)
		}
	}
	a.gro = a.gro || changed || f.pins.marked(ifindex)
}

// DetachUnderlay takes the programs off an underlay device.
func (f *FastPath) DetachUnderlay(ifindex int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return errors.Join(f.detach(place{ifindex, hookXDP}), f.detach(place{ifindex, hookUnderlay}), f.leaveCell(ifindex))
}

// joiner is what joins the segments that a device brings.
type joiner uint8

const (
	byXDP joiner = iota
	byCell
)

// joiners are what to try for a device, the best first; where XDP is left out, reason says why.
func (f *FastPath) joiners(ifindex int) (list []joiner, reason string) {
	switch f.options.Decap {
	case TCX:
		return nil, "xdp: not asked for"
	case XDPNative:
		return []joiner{byXDP}, ""
	}
	a := f.attached[place{ifindex, hookXDP}]
	return whatJoins(ifindex, a != nil && a.gro)
}

func (f *FastPath) whyNoXDP(ifindex int) string {
	if f.noXDP != "" {
		return "xdp: " + f.noXDP
	}
	switch owner, err := stacked(ifindex); {
	case err != nil:
		return "xdp: " + err.Error()
	case owner != "":
		return fmt.Sprintf("xdp: %s stands on it, and XDP cannot tell whose a datagram is", owner)
	}
	return ""
}

func (f *FastPath) program(h Hook) *ebpf.Program {
	return [...]*ebpf.Program{
		Ingress: f.objects.VtepdDevice, Egress: f.objects.VtepdTap, hookUnderlay: f.objects.VtepdUnderlay, hookXDP: f.objects.VtepdBare,
		hookCell: f.objects.VtepdCell,
	}[h]
}

// attach needs mu.
func (f *FastPath) attach(p place) error { return f.attachOver(p, nil) }

// attachOver is attach that uses a link which holds the place, if that can be. Needs mu.
func (f *FastPath) attachOver(p place, held *heldPlace) error {
	if a := f.attached[p]; a != nil {
		if a.alive(p) {
			return nil
		}
		if err := f.detach(p); err != nil {
			return err
		}
	}
	a := new(attachment)
	if f.pins != nil {
		a.link, a.taken = f.takeOver(p)
	}
	err := f.options.Refuse.place(p)
	over := false
	switch {
	case a.taken, err != nil:
	case held.first(p):
		a.link, over = held.take(), true
	case p.hook == hookXDP:
		a.link, err = link.AttachXDP(link.XDPOptions{Program: f.program(p.hook), Interface: p.ifindex, Flags: link.XDPDriverMode})
	default:
		at := ebpf.AttachTCXIngress
		if p.hook == Egress {
			at = ebpf.AttachTCXEgress
		}
		a.link, err = link.AttachTCX(link.TCXOptions{Program: f.program(p.hook), Interface: p.ifindex, Attach: at, Anchor: link.Head()})
	}
	if err != nil {
		return fmt.Errorf("%s of ifindex %d: %w", p.hook, p.ifindex, err)
	}
	if f.pins != nil && !a.taken {
		err := a.link.Pin(f.pins.link(p))
		if errors.Is(err, os.ErrNotExist) && f.asked {
			// Somebody has removed the directory since KeepPins looked.
			if err = f.renewPins(); err == nil {
				err = a.link.Pin(f.pins.link(p))
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s of ifindex %d: pin: %w", p.hook, p.ifindex, err), a.link.Close())
		}
	}
	if over {
		// Last: up to here whoever held the place has it as it was.
		if err := a.link.Update(f.program(p.hook)); err != nil {
			return errors.Join(fmt.Errorf("%s of ifindex %d: %w", p.hook, p.ifindex, err), ignoreMissing(a.link.Unpin()), a.link.Close())
		}
	}
	f.attached[p] = a
	return nil
}

// takeOver exchanges the program of a link that a former process pinned. A link that does not take ours is removed.
func (f *FastPath) takeOver(p place) (link.Link, bool) {
	path := f.pins.link(p)
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			if !f.useless[path] {
				f.log.Warn("former link is of no use", "pin", path, "error", err)
			}
			f.useless[path] = f.pins.unlink(path) != nil
		}
		return nil, false
	}
	a := attachment{link: l}
	if !a.here(p) {
		err = errors.New("its device has gone, or is in another network namespace")
	} else if p.hook == Ingress {
		var first link.Link
		if first, err = f.overtake(p, l); err == nil {
			return first, true
		}
	} else if err = l.Update(f.program(p.hook)); err == nil {
		return l, true
	}
	f.log.Warn("former link is of no use", "pin", path, "error", err)
	if err := errors.Join(destroy(l)); err != nil {
		f.log.Warn("former link does not go", "pin", path, "error", err)
	}
	return nil, false
}

// overtake puts our program before everything on a port's device, in the pin's place, and then takes the former's off. Where the former stands,
// something may have come to stand before it: what keeps the host from seeing the port's frames while there are no programs.
func (f *FastPath) overtake(p place, former link.Link) (link.Link, error) {
	path := f.pins.link(p)
	fresh := path + "-new" // a bpffs takes no dots
	l, err := link.AttachTCX(link.TCXOptions{Program: f.program(p.hook), Interface: p.ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if err != nil {
		return nil, err
	}
	f.pins.unlink(fresh)
	if err := l.Pin(fresh); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(err, destroy(l))
	}
	at, err := link.LoadPinnedLink(path, nil) // which knows where its pin is
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return at, errors.Join(l.Close(), former.Detach(), former.Close())
}

// alive says whether the link is still on its device; a device that vanished leaves the link behind, and its number may come back.
func (a *attachment) alive(p place) bool {
	info, err := a.link.Info()
	if err != nil {
		return false
	}
	if t := info.TCX(); t != nil {
		return int(t.Ifindex) == p.ifindex
	}
	if x := info.XDP(); x != nil {
		return int(x.Ifindex) == p.ifindex
	}
	return false
}

// detach needs mu.
func (f *FastPath) detach(p place) error {
	a := f.attached[p]
	if a == nil {
		return nil
	}
	delete(f.attached, p)
	err := destroy(a.link)
	if a.gro {
		if _, groErr := switchGRO(p.ifindex, false); groErr != nil {
			f.log.Warn("GRO stays on", "ifindex", p.ifindex, "error", groErr)
		}
		if f.pins != nil {
			err = errors.Join(err, f.pins.unmark(p.ifindex))
		}
	}
	if err != nil {
		return fmt.Errorf("%s of ifindex %d: %w", p.hook, p.ifindex, err)
	}
	return nil
}

// detachAll needs mu. XDP goes before tcx, and what leads to the cell before the cell.
func (f *FastPath) detachAll() error {
	places := make([]place, 0, len(f.attached))
	for p := range f.attached {
		if p.hook != hookCell {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(b.hook, a.hook) })
	var errs []error
	for _, p := range places {
		errs = append(errs, f.detach(p))
	}
	errs = append(errs, f.closeCell())
	return errors.Join(errs...)
}

// destroy detaches a link, unpins and closes it. ENOLINK: the device has gone before.
func destroy(l link.Link) error {
	err := l.Detach()
	if errors.Is(err, unix.ENOLINK) {
		err = nil
	}
	return errors.Join(err, ignoreMissing(l.Unpin()), l.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
