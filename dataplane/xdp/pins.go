package xdp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// pins is a directory on a bpffs that one process at a time uses:
//
//	links/NAME-IFINDEX    attached programs
//	maps-N/NAME           what Former reads, in layout N, and orderPin
//	slow_only             the socket filter of the port programs
//	gro-IFINDEX           an empty directory: GRO of the device was off
//
// bpffs holds no plain files, so the lock is on the directory itself. The kernel drops it with the process.
type pins struct {
	dir  string
	lock int // descriptor of dir
}

// mapLayout counts changes to the maps in statePins and to orderPin: another version's are not read.
const mapLayout = 1

// statePins are the maps that Former reads.
var statePins = []string{"fdb", "ports", "peers"}

// orderPin is the map in which programs note what they left to user space. The next process's go on with it: while programs and socket filters are exchanged, those
// of the two decide on the same frames, one to carry and the other to keep.
const orderPin = "superframes"

// order is the former process's map of that name, nil when there is none that can be gone on with.
func (p *pins) order(spec *ebpf.MapSpec) *ebpf.Map {
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.maps(), orderPin), nil)
	if err != nil {
		return nil
	}
	if spec.Compatible(m) != nil {
		m.Close()
		return nil
	}
	return m
}

// bpffs is where it usually is.
const bpffs = "/sys/fs/bpf"

func openPins(dir string) (*pins, error) {
	dir = filepath.Clean(dir)
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("pin directory %s: not absolute: %w", dir, ErrInvalid)
	}
	if err := ensureBPFFS(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "links"), 0o700); err != nil {
		return nil, fmt.Errorf("pin directory: %w", err)
	}
	p, err := lockPins(dir)
	if err == nil {
		if err = needWritable(dir); err != nil {
			_ = p.close()
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// lockPins has this process be the one that uses a directory, which is there.
func lockPins(dir string) (*pins, error) {
	p := &pins{dir: dir}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("pin directory %s: %w", dir, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("pin directory %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("pin directory %s: lock: %w", dir, err)
	}
	p.lock = fd
	return p, nil
}

// ensureBPFFS wants a directory to be on a bpffs, and mounts the usual one where nobody has yet.
func ensureBPFFS(dir string) error {
	if dir == bpffs || strings.HasPrefix(dir, bpffs+"/") {
		if on, err := onBPFFS(bpffs); err == nil && !on {
			mounts, _ := os.ReadFile("/proc/thread-self/mountinfo") // what cannot be read names nothing
			if name := ownSys(string(mounts)); name != "" {
				return fmt.Errorf("pin directory %s: `ip netns exec %s` gives vtepd a /sys that ends with it: start it by `nsenter --net=%s/%s`",
					dir, name, device.NetNSDir, name)
			}
			if err := mountBPFFS(); err != nil {
				return fmt.Errorf("mount bpffs on %s: %w", bpffs, err)
			}
		}
	}
	at := dir
	for {
		on, err := onBPFFS(at)
		if errors.Is(err, os.ErrNotExist) && at != "/" {
			at = filepath.Dir(at)
			continue
		}
		if err != nil {
			return fmt.Errorf("pin directory %s: %w", dir, err)
		}
		if !on {
			return fmt.Errorf("pin directory %s: not on a bpffs: %w", dir, ErrInvalid)
		}
		return nil
	}
}

// mountBPFFS mounts the usual one. Of several vtepd that start at once one does so: another's would hide the pins on it, and their programs would stay for ever.
func mountBPFFS() error {
	fd, err := unix.Open(bpffs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); err == nil {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("lock: %w", err)
		}
	}
	defer unix.Flock(fd, unix.LOCK_UN)
	if on, err := onBPFFS(bpffs); err != nil || on {
		return err
	}
	return unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RELATIME, "mode=0700")
}

func onBPFFS(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, err
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

func (p *pins) link(at place) string { return filepath.Join(p.dir, "links", at.pinName()) }

func (p *pins) groMark(ifindex int) string {
	return filepath.Join(p.dir, fmt.Sprintf("gro-%d", ifindex))
}

func (p *pins) mark(ifindex int) error { return os.Mkdir(p.groMark(ifindex), 0o700) }

func (p *pins) unmark(ifindex int) error { return ignoreMissing(os.Remove(p.groMark(ifindex))) }

func (p *pins) marked(ifindex int) bool {
	_, err := os.Stat(p.groMark(ifindex))
	return err == nil
}

func (p *pins) maps() string { return filepath.Join(p.dir, fmt.Sprintf("maps-%d", mapLayout)) }

func (p *pins) filter() string { return filepath.Join(p.dir, "slow_only") }

// keepFilter pins a socket filter in the place of that of a former process, in one step.
func (p *pins) keepFilter(filter *ebpf.Program) error {
	fresh := p.filter() + "-new"
	if err := p.unlink(fresh); err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	if err := pinAnew(filter, fresh); err != nil {
		return fmt.Errorf("pin socket filter: %w", err)
	}
	if err := os.Rename(fresh, p.filter()); err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	return nil
}

func (p *pins) unlink(path string) error { return ignoreMissing(os.Remove(path)) }

// leave removes what openPins made, unless a former process has pins there.
func (p *pins) leave() {
	_ = os.Remove(filepath.Join(p.dir, "links"))
	_ = os.Remove(p.dir)
}

// close gives the directory up. A process that is being started has a copy of the descriptor until it is another program, and the lock would live as long.
func (p *pins) close() error {
	return errors.Join(unix.Flock(p.lock, unix.LOCK_UN), unix.Close(p.lock))
}

// stray lists the pinned links that are not among those of ours, XDP first, and the cell's last: what a cell is still given when it has no program reaches the host's stack.
func (p *pins) stray(ours map[place]*attachment) ([]string, error) {
	known := make(map[string]bool, len(ours))
	for at := range ours {
		known[at.pinName()] = true
	}
	found, err := os.ReadDir(filepath.Join(p.dir, "links"))
	if err := ignoreMissing(err); err != nil {
		return nil, fmt.Errorf("pins: %w", err)
	}
	var first, rest, last []string
	for _, e := range found {
		switch path := filepath.Join(p.dir, "links", e.Name()); {
		case known[e.Name()]:
		case strings.HasPrefix(e.Name(), pinWords[hookXDP]+"-"):
			first = append(first, path)
		case strings.HasPrefix(e.Name(), pinWords[hookCell]+"-"):
			last = append(last, path)
		default:
			rest = append(rest, path)
		}
	}
	return slices.Concat(first, rest, last), nil
}

// dropLinks detaches and removes pinned links, and gives their devices back as they were.
func (p *pins) dropLinks(paths []string) error {
	var errs []error
	for _, path := range paths {
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			errs = append(errs, ignoreMissing(os.Remove(path)))
		} else {
			errs = append(errs, destroy(l))
		}
		number, ok := strings.CutPrefix(filepath.Base(path), pinWords[hookXDP]+"-")
		if ifindex, err := strconv.Atoi(number); ok && err == nil && p.marked(ifindex) {
			switchGRO(ifindex, false) // the device may have gone
			errs = append(errs, p.unmark(ifindex))
		}
	}
	return errors.Join(errs...)
}

// keep pins maps in the place of those of a former process, in one step.
func (p *pins) keep(maps map[string]*ebpf.Map) error {
	fresh := filepath.Join(p.dir, "maps-new")
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	for name, m := range maps {
		if err := pinAnew(m, filepath.Join(fresh, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	stale, err := filepath.Glob(filepath.Join(p.dir, "maps-*"))
	if err != nil {
		return err
	}
	for _, dir := range stale {
		if dir != fresh {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("pins: %w", err)
			}
		}
	}
	if err := os.Rename(fresh, p.maps()); err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	return nil
}

// remove removes everything, the links of a former process and the directory included.
func (p *pins) remove() error {
	left, err := p.stray(nil)
	if err != nil {
		return err
	}
	return errors.Join(p.dropLinks(left), os.RemoveAll(p.dir))
}
