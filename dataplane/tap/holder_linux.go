package tap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/device"
)

// explainAttach turns an error of TUNSETIFF into one that says what to do.
func explainAttach(err error, name string, queue int) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return busy(name)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("queue %d: %w: the device has no room for more queues", queue, err)
	}
	return fmt.Errorf("queue %d: TUNSETIFF: %w", queue, err)
}

// busy names the process that holds a device, as far as /proc shows it.
func busy(name string) error {
	held := holdersOf(name)
	switch {
	case len(held) > 0 && held[0].pid == os.Getpid():
		return fmt.Errorf("%w: it is a port of this vtepd already: choose another name", ErrBusy)
	case len(held) == 0:
		return fmt.Errorf("%w: held by a process this one may not look into: choose another name or stop it", ErrBusy)
	case len(held) == 1:
		return fmt.Errorf("%w: device is held by %v: choose another name or stop it", ErrBusy, held[0])
	}
	return fmt.Errorf("%w: device is held by one of %v: choose another name or stop it", ErrBusy, held)
}

// holder is a process with a descriptor of a device of the name in question.
type holder struct {
	pid  int
	comm string
}

func (h holder) String() string { return fmt.Sprintf("pid %d (%s)", h.pid, h.comm) }

// holdersOf looks for the device in the fdinfo of all descriptors. fdinfo has no
// more than the name, which may be that of another device in another namespace:
// where a process has a thread in the caller's namespace, the others are left
// out.
func holdersOf(name string) (near []holder) {
	var far []holder
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !holds("/proc/"+p.Name(), name) {
			continue
		}
		h := holder{pid, "?"}
		if b, err := os.ReadFile("/proc/" + p.Name() + "/comm"); err == nil {
			h.comm = strings.TrimSpace(string(b))
		}
		if standsHere("/proc/" + p.Name()) {
			near = append(near, h)
		} else {
			far = append(far, h)
		}
	}
	if len(near) > 0 {
		return near
	}
	return far
}

// holds says whether the process has a descriptor of a device of that name.
func holds(proc, name string) bool {
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		// Only descriptors of the clone device are worth reading.
		if link, err := os.Readlink(proc + "/fd/" + fd.Name()); err != nil || !strings.HasSuffix(link, "/net/tun") {
			continue
		}
		f, err := os.Open(proc + "/fdinfo/" + fd.Name())
		if err != nil {
			continue
		}
		held := interfaceIn(f)
		f.Close()
		if held == name {
			return true
		}
	}
	return false
}

// standsHere says whether a thread of the process is in the caller's namespace.
func standsHere(proc string) bool {
	tasks, err := os.ReadDir(proc + "/task")
	if err != nil {
		return false
	}
	for _, task := range tasks {
		if device.SameFile(proc+"/task/"+task.Name()+"/ns/net", device.OwnNetNS) {
			return true
		}
	}
	return false
}

// interfaceIn reads the line "iff:\tNAME" that tun_chr_show_fdinfo writes; ""
// when there is none.
func interfaceIn(r io.Reader) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "iff:\t"); ok {
			return name
		}
	}
	return ""
}
