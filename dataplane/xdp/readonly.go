package xdp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrReadOnly: pins can be neither made nor removed. The kernel gives no link by its pin, either, but maps to read.
var ErrReadOnly = errors.New("read-only bpffs")

// needWritable wants a pin directory to take pins, now rather than with the first program.
func needWritable(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
		return nil // who makes a pin will hear of it
	}
	return fmt.Errorf("pin directory %s: %w: `mount -o remount,rw %s`", dir, ErrReadOnly, mountOf(dir))
}

// mountOf is where the file system of a directory begins.
func mountOf(dir string) string {
	var here, above unix.Stat_t
	for dir != "/" && unix.Stat(dir, &here) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && here.Dev == above.Dev {
		dir = filepath.Dir(dir)
	}
	return dir
}

// Detach takes a killed process's programs off, where its pin directory is on a bpffs that is read-only now: the pins stay, and nothing carries. It says how
// many it found. There being no such directory is none, ErrLocked that the process lives.
func Detach(pinDir string) (n int, err error) {
	p, err := lockPins(pinDir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer p.close()
	return p.detachByMaps()
}

// linkPatience is how long a link that somebody is making may stand in the way of those behind it.
const linkPatience = 5 * time.Second

// eachLink visits all links of the host.
func eachLink(visit func(at *link.Iterator)) error {
	var seen link.ID
	for end := time.Now().Add(linkPatience); ; time.Sleep(time.Millisecond) {
		all := link.Iterator{ID: seen}
		for all.Next() {
			visit(&all)
		}
		seen = all.ID
		err := all.Err()
		all.Close()
		// The kernel lists a link that is being made, of whatever program, and does not give it out before it is attached (bpf_link_by_id).
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(end) {
			return err
		}
	}
}

// detachByMaps finds the links by what their programs use: the maps that are pinned are nobody else's.
func (p *pins) detachByMaps() (n int, err error) {
	ours, err := p.mapIDs()
	if err != nil || len(ours) == 0 {
		return 0, err
	}
	found := make(map[Hook][]link.Link)
	errs := []error{eachLink(func(all *link.Iterator) {
		if hook, uses := hookBy(all.Link, ours); uses {
			found[hook] = append(found[hook], all.Take())
		}
	})}
	// XDP first, as everywhere: what it laid bare must not reach the host's stack.
	for _, l := range slices.Concat(found[hookXDP], found[hookUnderlay]) {
		n++
		if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
			errs = append(errs, err)
		}
		errs = append(errs, l.Close())
	}
	marks, _ := filepath.Glob(filepath.Join(p.dir, "gro-*")) // the pattern is right
	for _, mark := range marks {
		if ifindex, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(mark), "gro-")); err == nil {
			switchGRO(ifindex, false) // the device may have gone
		}
	}
	if err := errors.Join(errs...); err != nil {
		return n, fmt.Errorf("former links: %w", err)
	}
	return n, nil
}

// mapIDs are the numbers of the pinned maps, of any layout.
func (p *pins) mapIDs() ([]ebpf.MapID, error) {
	paths, _ := filepath.Glob(filepath.Join(p.dir, "maps-*", "*")) // the pattern is right
	var ids []ebpf.MapID
	for _, path := range paths {
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return nil, fmt.Errorf("former map %s: %w", filepath.Base(path), err)
		}
		info, err := m.Info()
		m.Close()
		if err != nil {
			return nil, fmt.Errorf("former map %s: %w", filepath.Base(path), err)
		}
		if id, ok := info.ID(); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// hookBy says whether a link is attached still and its program uses one of some maps, and whether that is one for XDP; another hook is as good as the underlay's.
func hookBy(l link.Link, maps []ebpf.MapID) (h Hook, uses bool) {
	info, err := l.Info()
	if err != nil {
		return 0, false // gone meanwhile
	}
	x, t := info.XDP(), info.TCX()
	switch { // a pin keeps a link that was detached, without an interface
	case x != nil && x.Ifindex != 0:
		h = hookXDP
	case t != nil && t.Ifindex != 0:
		h = hookUnderlay
	default:
		return 0, false
	}
	prog, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return 0, false
	}
	defer prog.Close()
	about, err := prog.Info()
	if err != nil {
		return 0, false
	}
	ids, _ := about.MapIDs()
	return h, slices.ContainsFunc(ids, func(id ebpf.MapID) bool { return slices.Contains(maps, id) })
}
