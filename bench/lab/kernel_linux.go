package lab

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VXLANOptions shape a kernel vxlan device.
type VXLANOptions struct {
	Name  string // "" = vxlan<VNI>
	VNI   int
	Local netip.Addr
	Peers []netip.Addr // flood list (all-zero MAC entries), head-end replication
	Group netip.Addr   // or a multicast group to flood to, joined on Device
	// Device is the underlay interface; needed with Group. The device's MTU follows it when it is given.
	Device string
	Port   int  // UDP destination port; 0 = 4789
	MTU    int  // bytes; 0 = the kernel's choice
	NoCsum bool // send outer checksum zero over IPv4; the kernel's default, and ours, is to send one
	// ZeroCsum6 sends and accepts outer checksum zero over IPv6.
	ZeroCsum6 bool
	NoLearn   bool
	GBP       bool // group policy extension: the group is the packet's mark
}

// vxlanPort is the port IANA assigned to VXLAN (RFC 7348, section 8).
const vxlanPort = 4789

// VXLAN makes a kernel vxlan device on the host, up, and returns its name.
func (h *Host) VXLAN(o VXLANOptions) (name string) {
	h.lab.help()
	if err := h.vxlan(&o); err != nil {
		h.lab.fatalf("host %s: vxlan %d: %w", h.name, o.VNI, err)
	}
	return o.Name
}

func (h *Host) vxlan(o *VXLANOptions) error {
	if o.Name == "" {
		o.Name = "vxlan" + strconv.Itoa(o.VNI)
	}
	if o.Port == 0 {
		o.Port = vxlanPort
	}
	// By `ip`, because the netlink package cannot ask for noudpcsum: it leaves the attribute away, and the kernel's default is to send checksums.
	args := []string{"link", "add", "name", o.Name}
	if o.MTU > 0 {
		args = append(args, "mtu", strconv.Itoa(o.MTU))
	}
	args = append(args, "type", "vxlan", "id", strconv.Itoa(o.VNI), "local", o.Local.String(), "dstport", strconv.Itoa(o.Port),
		flag(!o.NoLearn, "learning"), flag(!o.NoCsum, "udpcsum"), flag(o.ZeroCsum6, "udp6zerocsumtx"), flag(o.ZeroCsum6, "udp6zerocsumrx"))
	if o.Group.IsValid() {
		args = append(args, "group", o.Group.String())
	}
	if o.GBP {
		args = append(args, "gbp")
	}
	if o.Device != "" {
		args = append(args, "dev", o.Device)
	}
	if _, err := h.Command("ip", args...); err != nil {
		return err
	}
	link, err := h.nl.LinkByName(o.Name)
	if err != nil {
		return err
	}
	for _, peer := range o.Peers {
		if err := h.nl.NeighAppend(vxlanEntry(link, make(net.HardwareAddr, 6), peer)); err != nil {
			return err
		}
	}
	return h.nl.LinkSetUp(link)
}

// flag is a word of `ip link`, with "no" in front when it is off.
func flag(on bool, word string) string {
	if on {
		return word
	}
	return "no" + word
}

func vxlanEntry(link netlink.Link, mac net.HardwareAddr, peer netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP, Flags: netlink.NTF_SELF,
		IP: peer.AsSlice(), HardwareAddr: mac,
	}
}

// Workload makes a namespace that stands for a container or guest of h, joined to it by a veth pair whose end on h is bare and named port. The
// workload's own end, eth0, has the workload's overlay addresses and the given MTU in bytes.
func (l *Lab) Workload(h *Host, name, port string, mtu int) *Host {
	l.help()
	w := l.Host(name)
	link, err := newLink(h, w, LinkOptions{MTU: mtu, NameA: port})
	if err == nil {
		err = addressEnds(Bare, link.A)
	}
	if err == nil {
		err = addressEnds(Overlay, link.B)
	}
	if err != nil {
		l.fatalf("workload %s of %s: %w", name, h.name, err)
	}
	return w
}
