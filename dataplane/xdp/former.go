package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Former is what a former process knew, nil when there is nothing of one; empty when that cannot be read, and its programs are there all the same. Entries of places
// that it had dropped already are left out.
func (f *FastPath) Former() *State {
	if f.pins == nil {
		return nil
	}
	maps := make(map[string]*ebpf.Map)
	defer func() {
		for _, m := range maps {
			m.Close()
		}
	}()
	for _, name := range statePins {
		m, err := ebpf.LoadPinnedMap(filepath.Join(f.pins.maps(), name), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				left := f.left()
				if left == "" {
					return nil
				}
				err = fmt.Errorf("%s: no map %s of layout %d, but %s: it was removed, or another version left this", f.pins.dir, name, mapLayout, left)
			}
			return f.unreadable(err)
		}
		maps[name] = m
	}
	s, err := readState(maps)
	if err != nil {
		return f.unreadable(err)
	}
	return s
}

func (f *FastPath) unreadable(err error) *State {
	f.log.Warn("former state is not readable", "error", err)
	return new(State)
}

// left names something of a former process that is not what Former reads; empty when there is nothing.
func (f *FastPath) left() string {
	dirs, _ := filepath.Glob(filepath.Join(f.pins.dir, "maps-*")) // the pattern is right
	links, _ := f.pins.stray(f.attached)                          // what cannot be read names nothing
	for _, path := range append(dirs, links...) {
		return filepath.Base(path)
	}
	return ""
}

func readState(maps map[string]*ebpf.Map) (*State, error) {
	for name, size := range map[string][2]int{
		"fdb":   {binary.Size(programsFdbKey{}), binary.Size(programsFdbValue{})},
		"ports": {4, binary.Size(programsPort{})},
		"peers": {4, binary.Size(programsPeer{})},
	} {
		if m := maps[name]; int(m.KeySize()) != size[0] || int(m.ValueSize()) != size[1] {
			return nil, fmt.Errorf("map %s: %d and %d bytes, not %d and %d: %w", name, m.KeySize(), m.ValueSize(), size[0], size[1], ErrInvalid)
		}
	}
	s := new(State)
	var index uint32
	ports, peers := make(map[uint32]int), make(map[uint32]netip.AddrPort)
	var port programsPort
	it := maps["ports"].Iterate()
	for it.Next(&index, &port) {
		ports[index] = int(port.Ifindex)
		s.Ports = append(s.Ports, FormerPort{Index: index, Ifindex: int(port.Ifindex)})
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	var peer programsPeer
	it = maps["peers"].Iterate()
	for it.Next(&index, &peer) {
		a := netip.AddrPortFrom(address(peer.Address.Word), wire16(peer.UdpPort))
		peers[index] = a
		s.Peers = append(s.Peers, FormerPeer{Index: index, Addr: a})
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	err := walkEntries(maps["fdb"], func(e Entry) bool {
		was := FormerEntry{VNI: e.VNI, MAC: e.MAC, Static: e.Static || e.Sticky, Seen: e.Seen}
		if e.ToPeer {
			was.Peer = peers[e.Index]
		} else {
			was.Ifindex = ports[e.Index]
		}
		if was.Ifindex != 0 || was.Peer.IsValid() {
			s.Entries = append(s.Entries, was)
		}
		return true
	})
	return s, err
}

// FormerFilter is the descriptor of the socket filter that a former process's packet sockets had on a port's device, where its program is still attached:
// sockets with it see what that program leaves to user space, and nothing twice. -1: there is no such thing. The descriptor lives until Commit or the end.
func (f *FastPath) FormerFilter(ifindex int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := place{ifindex, Ingress}
	if f.closed || f.pins == nil || f.committed || f.attached[at] != nil {
		return -1
	}
	l, err := link.LoadPinnedLink(f.pins.link(at), nil)
	if err != nil {
		return -1
	}
	defer l.Close()
	if a := (attachment{link: l}); !a.here(at) {
		return -1
	}
	if f.former == nil {
		if f.former, err = ebpf.LoadPinnedProgram(f.pins.filter(), nil); err != nil {
			f.former = nil
			return -1
		}
	}
	return f.former.FD()
}

// Commit ends a takeover: links of a former process that nothing took over are detached, and the present maps are pinned for the next
// process. It may be called again.
func (f *FastPath) Commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.asked = true
	if f.pins == nil {
		return nil
	}
	return f.commit()
}

// commit needs mu, and pins.
func (f *FastPath) commit() error {
	left, err := f.pins.stray(f.attached)
	if err != nil {
		return err
	}
	if err := f.pins.dropLinks(left); err != nil {
		return fmt.Errorf("former links: %w", err)
	}
	if f.cell == nil {
		if err := removeCell(f.options.Name); err != nil {
			return fmt.Errorf("former cell: %w", err)
		}
	}
	if f.committed {
		return nil
	}
	if err := f.pins.keep(map[string]*ebpf.Map{"fdb": f.objects.Fdb, "ports": f.objects.Ports, "peers": f.objects.Peers, orderPin: f.objects.Superframes}); err != nil {
		return err
	}
	if err := f.pins.keepFilter(f.objects.SlowOnly); err != nil {
		return err
	}
	f.former.Close()
	f.former, f.committed = nil, true
	return nil
}
