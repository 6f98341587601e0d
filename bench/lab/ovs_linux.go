package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
)

// ErrNoOVS reports a machine without Open vSwitch.
var ErrNoOVS = errors.New("open vswitch is not installed (Debian: openvswitch-switch)")

const (
	ovsSchema = "/usr/share/openvswitch/vswitch.ovsschema"
	// ovsStart bounds the wait for a daemon's socket, and each ovs-vsctl call.
	ovsStart = Patience
)

// OVSInstalled says whether OVS can run: nil, or ErrNoOVS.
func OVSInstalled() error {
	for _, program := range []string{"ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-vswitchd"} {
		if _, err := exec.LookPath(program); err != nil {
			return ErrNoOVS
		}
	}
	if _, err := os.Stat(ovsSchema); err != nil {
		return ErrNoOVS
	}
	return nil
}

// OVS is an Open vSwitch of its own on a host: database, daemon and sockets in a private directory, the userspace datapath (datapath_type=netdev),
// no service of the machine touched.
type OVS struct {
	host *Host
	dir  string
}

// OVS starts Open vSwitch on the host. Close of the lab ends it.
func (h *Host) OVS() *OVS {
	h.lab.help()
	o, err := h.startOVS()
	if err != nil {
		h.lab.fatalf("host %s: open vswitch: %w", h.name, err)
	}
	return o
}

func (h *Host) startOVS() (*OVS, error) {
	if err := OVSInstalled(); err != nil {
		return nil, err
	}
	dir, err := h.lab.TempDir()
	if err != nil {
		return nil, err
	}
	o := &OVS{host: h, dir: dir}
	database := filepath.Join(dir, "conf.db")
	if _, err := h.Command("ovsdb-tool", "create", database, ovsSchema); err != nil {
		return nil, err
	}
	if err := o.daemon("db.sock", "ovsdb-server", database, "--remote=punix:"+o.path("db.sock"), "--unixctl="+o.path("db.ctl")); err != nil {
		return nil, err
	}
	if err := o.Vsctl("--no-wait", "init"); err != nil {
		return nil, err
	}
	return o, o.daemon("vswitchd.ctl", "ovs-vswitchd", "unix:"+o.path("db.sock"), "--unixctl="+o.path("vswitchd.ctl"))
}

func (o *OVS) path(name string) string { return filepath.Join(o.dir, name) }

// daemon starts a program of the suite in the foreground and waits until it listens on its socket, which is there a little before.
func (o *OVS) daemon(socket, program string, args ...string) error {
	cmd := exec.Command(program, append(args, "-vconsole:warn", "-vsyslog:off")...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.dir, "OVS_LOGDIR="+o.dir, "OVS_DBDIR="+o.dir)
	p, err := o.host.StartCmd(cmd)
	if err != nil {
		return err
	}
	for end := time.Now().Add(ovsStart); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", o.path(socket)); err == nil {
			return conn.Close()
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended: %w: %s", program, p.Wait(), p.Output())
		default:
		}
	}
	return fmt.Errorf("%s does not listen on %s within %v: %s", program, socket, ovsStart, p.Output())
}

// Vsctl runs ovs-vsctl against this instance.
func (o *OVS) Vsctl(args ...string) error {
	_, err := o.host.Command("ovs-vsctl", append([]string{"--db=unix:" + o.path("db.sock"), "--timeout=" + strconv.Itoa(int(ovsStart.Seconds()))}, args...)...)
	return err
}

// VXLAN joins the host to peer over VXLAN. The underlay interface becomes a port of one bridge, which takes over its addresses, because the userspace
// datapath routes and sends tunnel packets itself; the workload's interface, br-int, is the internal port of another.
//
//	workload ── br-int ── vxlan0 ┄┄ (encapsulated by the datapath) ┄┄ br-phy ── underlay
func (o *OVS) VXLAN(underlay string, vni int, peer netip.Addr) (workload string) {
	o.host.lab.help()
	if err := o.vxlan(underlay, vni, peer); err != nil {
		o.host.lab.fatalf("host %s: open vswitch: %w", o.host.name, err)
	}
	return "br-int"
}

func (o *OVS) vxlan(underlay string, vni int, peer netip.Addr) error {
	h := o.host
	link, err := h.nl.LinkByName(underlay)
	if err != nil {
		return err
	}
	mac := link.Attrs().HardwareAddr.String()
	err = o.Vsctl("--", "add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "other_config:hwaddr="+mac,
		"--", "add-port", "br-phy", underlay,
		"--", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev",
		"--", "add-port", "br-int", "vxlan0",
		"--", "set", "interface", "vxlan0", "type=vxlan", "options:remote_ip="+peer.String(), "options:key="+strconv.Itoa(vni))
	if err != nil {
		return err
	}
	if err := o.moveAddresses(link, "br-phy"); err != nil {
		return err
	}
	return h.up("br-int")
}

func (o *OVS) moveAddresses(from netlink.Link, to string) error {
	addresses, err := o.host.nl.AddrList(from, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	var keep []netip.Prefix
	for _, a := range addresses {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		if err := o.host.nl.AddrDel(from, &netlink.Addr{IPNet: a.IPNet}); err != nil {
			return fmt.Errorf("%v: %w", a.IPNet, err)
		}
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		keep = append(keep, netip.PrefixFrom(ip.Unmap(), bits))
	}
	return o.host.addr(to, keep)
}
