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
)

// explainAttach turns an error of TUNSETIFF into one that says what to do.
func explainAttach(err error, name string, queue int) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return busy(name)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("queue %d: %w: needs CAP_NET_ADMIN", queue, err)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("queue %d: %w: the device has no room for more queues", queue, err)
	}
	return fmt.Errorf("queue %d: TUNSETIFF: %w", queue, err)
}

// busy names the process that holds a device, as far as /proc shows it.
func busy(name string) error {
	pid, comm := holderOf(name)
	if pid == 0 {
		return fmt.Errorf("%w: held by a process this one may not look into: choose another name or stop it", ErrBusy)
	}
	return fmt.Errorf("%w: device is held by pid %d (%s): choose another name or stop it", ErrBusy, pid, comm)
}

// holderOf looks for the device in the fdinfo of all descriptors. The name alone
// may be that of another device in another namespace, which fdinfo does not
// tell: a process that stands in the caller's namespace is the better guess.
func holderOf(name string) (pid int, comm string) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, ""
	}
	for _, p := range procs {
		n, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + p.Name()
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			// Only descriptors of the clone device are worth reading.
			if link, err := os.Readlink(dir + "/fd/" + fd.Name()); err != nil || !strings.HasSuffix(link, "/net/tun") {
				continue
			}
			f, err := os.Open(dir + "/fdinfo/" + fd.Name())
			if err != nil {
				continue
			}
			held := interfaceIn(f)
			f.Close()
			if held != name {
				continue
			}
			near := sameFile(dir+"/ns/net", ownNetNS)
			if pid != 0 && !near {
				continue
			}
			pid, comm = n, "?"
			if b, err := os.ReadFile(dir + "/comm"); err == nil {
				comm = strings.TrimSpace(string(b))
			}
			if near {
				return pid, comm
			}
		}
	}
	return pid, comm
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
