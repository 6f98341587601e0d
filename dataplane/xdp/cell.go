package xdp

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cell is a veth pair of our own in which the kernel joins TCP segments that tcx unwrapped one by one, as its tunnel devices do in theirs (gro_cells, Linux
// 3.8): what goes in at one end comes out at the other through GRO, where vtepd_cell takes it on to its port.
//
//	underlay ── tcx: unwrap ── in ═══ out ── GRO ── tcx: vtepd_cell ── port
//
// XDP could unwrap before GRO too, but a virtual device copies each frame for it. The pair stays when the process is killed, like the programs.
type cell struct {
	in, out int             // ifindexes
	users   map[int]int     // ifindexes of underlay devices, by these modulo maxCells
	lost    uint64          // frames that the pair had dropped before it was ours
	last    uint64          // what it had dropped when it was last asked
	handle  *netlink.Handle // of the namespace of the pair
	former  bool            // programs of a former process may use it
}

const (
	// cellMTU is the most that a veth takes, in bytes: the underlay has judged the frames.
	cellMTU = 65535
	// maxCells is MAX_CELLS of the programs.
	maxCells = 64
	// cellMark begins the alias of the pair's ends; whose it is follows.
	cellMark = "vtepd joins segments: "
	// addrGenNone is IN6_ADDR_GEN_MODE_NONE of <linux/if_link.h>: no link-local address, so nothing to say.
	addrGenNone = 1
)

var errNotOurs = errors.New("an interface of that name is there and not ours: remove or rename it")

// cellNames are those of the ends, 14 characters of the 15 that the kernel takes.
func (o *Options) cellNames() (in, out string) {
	name := fmt.Sprintf("vtepd%08x", nameSum(o.Name))
	return name, name + "j"
}

// enterCell has the segments of an underlay device joined. Needs mu.
func (f *FastPath) enterCell(underlay int) error {
	if f.cell != nil && !f.cell.there() {
		f.log.Warn("the pair of interfaces that joins segments was taken away; making another")
		if err := f.closeCell(); err != nil {
			return fmt.Errorf("cell: %w", err)
		}
	}
	if f.cell == nil {
		if time.Now().Before(f.noCell.until) {
			return errors.New(f.noCell.reason)
		}
		c, err := openCell(&f.options)
		if err != nil {
			return f.refuseCell(fmt.Errorf("cell: %w", err))
		}
		f.cell = c
	}
	// Attached anew where somebody took the program off, as every AttachUnderlay does.
	err := f.attach(place{f.cell.out, hookCell})
	if other := f.cell.users[underlay%maxCells]; err == nil && other != underlay {
		if other != 0 {
			err = fmt.Errorf("ifindex %d has the place of ifindex %d", other, underlay)
		} else {
			err = f.objects.Cells.Put(uint32(underlay%maxCells), programsCell{Underlay: uint32(underlay), Ifindex: uint32(f.cell.in)})
		}
	}
	if err != nil {
		return f.refuseCell(errors.Join(fmt.Errorf("cell: %w", err), f.leaveCell(underlay)))
	}
	f.cell.users[underlay%maxCells] = underlay
	return nil
}

// refuseCell remembers why there is no cell: making one and removing it is announced, and each announcement has the underlay looked at anew. Needs mu.
func (f *FastPath) refuseCell(err error) error {
	if f.cell == nil {
		f.noCell = refusal{err.Error(), time.Now().Add(refusalRetry)}
	}
	return err
}

// leaveCell is the opposite of enterCell; the last one out removes the pair. Needs mu.
func (f *FastPath) leaveCell(underlay int) error {
	if f.cell == nil {
		return nil
	}
	var err error
	if f.cell.users[underlay%maxCells] == underlay {
		err = f.objects.Cells.Put(uint32(underlay%maxCells), programsCell{})
		delete(f.cell.users, underlay%maxCells)
	}
	if len(f.cell.users) > 0 {
		return err
	}
	return errors.Join(err, f.closeCell())
}

// closeCell needs mu.
func (f *FastPath) closeCell() error {
	c := f.cell
	if c == nil {
		return nil
	}
	f.cell = nil
	f.lost += c.dropped() - c.lost
	var err error
	for _, underlay := range c.users {
		err = errors.Join(err, f.objects.Cells.Put(uint32(underlay%maxCells), programsCell{}))
	}
	err = errors.Join(err, f.detach(place{c.out, hookCell}))
	// Without pins nothing was taken over, and before Commit the start may still fail: what a former process attached carries on, into the pair.
	kept := c.former && f.pins == nil && !f.asked
	if l, gone := c.handle.LinkByIndex(c.in); gone == nil && !kept {
		err = errors.Join(err, c.handle.LinkDel(l))
	}
	c.handle.Close()
	return err
}

// lostInCell is how many frames found no room in the pair.
func (f *FastPath) lostInCell() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cell == nil || f.closed {
		return f.lost
	}
	return f.lost + f.cell.dropped() - f.cell.lost
}

// dropped is what found the far end's queue full, as far as that is known once somebody has taken the pair away. Needs mu.
func (c *cell) dropped() uint64 {
	if l, err := c.handle.LinkByIndex(c.in); err == nil && l.Attrs().Statistics != nil {
		c.last = l.Attrs().Statistics.TxDropped
	}
	return c.last
}

// there says whether the pair is there and up; where somebody has set it down, it is set up again.
func (c *cell) there() bool {
	for _, i := range []int{c.out, c.in} {
		l, err := c.handle.LinkByIndex(i)
		if err == nil && l.Attrs().Flags&net.FlagUp == 0 {
			err = c.handle.LinkSetUp(l)
		}
		if err != nil {
			return false
		}
	}
	return true
}

// openCell makes the pair in the present namespace, or finds the one that a former process left.
func openCell(o *Options) (_ *cell, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	c := &cell{users: make(map[int]int), handle: h}
	in, out := o.cellNames()
	alias := cellMark + o.Name
	made := false
	defer func() {
		if err != nil {
			if l, gone := h.LinkByName(in); made && gone == nil {
				err = errors.Join(err, h.LinkDel(l))
			}
			h.Close()
		}
	}()
	if l, gone := h.LinkByName(in); gone == nil && !o.ownsCell(h, l) {
		return nil, fmt.Errorf("%s: %w", in, errNotOurs)
	} else if gone != nil {
		// A queue for each CPU: they do not wait for each other, and a flow that stays on one stays in order.
		queues := min(runtime.NumCPU(), 64)
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: in, MTU: cellMTU, NumTxQueues: queues, NumRxQueues: queues})
		pair.PeerName, pair.PeerMTU, pair.PeerNumTxQueues, pair.PeerNumRxQueues = out, cellMTU, uint32(queues), uint32(queues)
		if err := h.LinkAdd(pair); err != nil {
			return nil, fmt.Errorf("%s: %w", in, err)
		}
		made = true
	} else {
		c.former = l.Attrs().Alias == alias
	}
	for _, end := range []struct {
		name    string
		ifindex *int
	}{{in, &c.in}, {out, &c.out}} {
		l, err := h.LinkByName(end.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", end.name, err)
		}
		*end.ifindex = l.Attrs().Index
		if err := errors.Join(h.LinkSetAlias(l, alias), h.LinkSetARPOff(l)); err != nil {
			return nil, fmt.Errorf("%s: %w", end.name, err)
		}
		// Without IPv6 in the kernel there is nothing to keep quiet.
		_ = h.LinkSetIP6AddrGenMode(l, addrGenNone)
	}
	// A veth hands frames to GRO when the sending end does not segment and the other end wants it.
	if err := cellOffloads(c.in, c.out); err != nil {
		return nil, err
	}
	for _, i := range []int{c.out, c.in} {
		l, err := h.LinkByIndex(i)
		if err == nil {
			err = h.LinkSetUp(l)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: up: %w", in, err)
		}
	}
	c.lost = c.dropped()
	return c, nil
}

// ownsCell says whether an interface is the first end of our pair. The kernel takes no alias for an interface that is yet to be made (as of Linux 6.18), so a
// process that is killed over it leaves a pair without: both names in it are ours alone, and nobody has set an end up or marked it.
func (o *Options) ownsCell(h *netlink.Handle, in netlink.Link) bool {
	if in.Attrs().Alias == cellMark+o.Name {
		return true
	}
	out, err := h.LinkByIndex(in.Attrs().ParentIndex)
	if err != nil || out.Attrs().ParentIndex != in.Attrs().Index {
		return false
	}
	for _, l := range []netlink.Link{in, out} {
		if a := l.Attrs(); l.Type() != "veth" || a.Alias != "" || a.Flags&net.FlagUp != 0 {
			return false
		}
	}
	_, name := o.cellNames()
	return out.Attrs().Name == name
}

// removeCell removes the pair that a process of that name left, if there is one.
func removeCell(owner string) error {
	o := &Options{Name: owner}
	in, _ := o.cellNames()
	l, err := netlink.LinkByName(in)
	if err != nil || !o.ownsCell(&netlink.Handle{}, l) {
		return nil // none of ours
	}
	if err := netlink.LinkDel(l); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	return nil
}
