package xdp

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxUnderlays is MAX_UNDERLAYS of maps.h.
const maxUnderlays = 256

// refusalRetry is how long what was refused is not asked for again: some drivers stop and start their queues for the question.
const refusalRetry = time.Minute

// refusal is why something cannot be had, and until when it is not asked for again.
type refusal struct {
	reason string
	until  time.Time
}

// owners are the kinds of devices that take some of another device's datagrams for themselves, by a VLAN tag or a MAC. A network card may have
// taken the tag out of the frame before XDP sees it.
var owners = []string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}

// stacked names a device of this namespace that stands on another; "" when there is none. What stands on it in other namespaces is not seen: those have
// addresses of their own, MAC or IP.
func stacked(ifindex int) (string, error) {
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range all {
		// A device below in another namespace has a number of that namespace.
		if a := l.Attrs(); a.ParentIndex == ifindex && a.NetNsID < 0 && slices.Contains(owners, l.Type()) {
			return fmt.Sprintf("%s %s", l.Type(), a.Name), nil
		}
	}
	return "", nil
}

// layBare attaches XDP to a device, or has it follow the device's MAC. It says why that cannot be. Needs mu.
func (f *FastPath) layBare(ifindex int, mac net.HardwareAddr) (reason string) {
	at := place{ifindex, hookXDP}
	if r, ok := f.refused[ifindex]; ok && f.attached[at] == nil && time.Now().Before(r.until) {
		return r.reason
	}
	delete(f.refused, ifindex)
	if f.attached[at] == nil { // the program wants to know the device before it sees a frame of it
		for p := range f.attached {
			if p.hook == hookXDP && p.ifindex%maxUnderlays == ifindex%maxUnderlays {
				return fmt.Sprintf("xdp: ifindex %d has it, of which the programs can know only one of %d and itself", p.ifindex, ifindex)
			}
		}
	}
	u := programsUnderlay{Ifindex: uint32(ifindex)}
	copy(u.Mac[:], mac)
	err := f.objects.Underlays.Put(uint32(ifindex%maxUnderlays), u)
	if err == nil {
		err = f.attach(at)
	}
	if err != nil {
		if reason = err.Error(); errors.Is(err, unix.EOPNOTSUPP) {
			reason = "xdp: the driver of the interface has none, or not as it is set up now"
		}
		f.refused[ifindex] = refusal{reason, time.Now().Add(refusalRetry)}
		return reason
	}
	f.wantGRO(ifindex)
	return ""
}
