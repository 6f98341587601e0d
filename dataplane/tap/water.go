package tap

import (
	"fmt"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// attachPlain opens the queues without virtio-net header, through water.
// persistent: the device is there already and is to stay after Close; water
// would clear the flag otherwise. On failure no queue is left.
func (d *Device) attachPlain(name string, o *Options, multi, persistent bool) (err error) {
	defer func() {
		if err != nil {
			d.closeQueues()
		}
	}()
	if multi && o.Refuse.MultiQueue {
		return unix.EINVAL
	}
	n := 1
	if multi {
		n = o.Queues
	}
	for i := range n {
		ifce, err := water.New(water.Config{
			DeviceType: water.TAP,
			PlatformSpecificParams: water.PlatformSpecificParams{
				Name: name, MultiQueue: multi, Persist: persistent,
			},
		})
		if err != nil {
			return explainAttach(err, name, i)
		}
		fd, err := takeDescriptor(ifce)
		if err != nil {
			return err
		}
		d.queues = append(d.queues, newQueue(fd, false))
		if withHeader(fd) {
			return fmt.Errorf("%w: the device that was to go has a virtio-net header, and a queue that is open yet", ErrBusy)
		}
	}
	d.caps = Caps{MultiQueue: multi}
	return nil
}

// takeDescriptor gets the descriptor out of water's os.File, which would wait in
// the runtime's poller where a worker has its own. The copy shares the open
// file, so the device stays when water's end is closed.
func takeDescriptor(ifce *water.Interface) (int, error) {
	defer ifce.Close()
	file, ok := ifce.ReadWriteCloser.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("water: %T has no descriptor", ifce.ReadWriteCloser)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("water: %w", err)
	}
	fd := -1
	var dupErr error
	err = conn.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = dupErr
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("water: take the descriptor: %w", err)
	}
	return fd, nil
}
