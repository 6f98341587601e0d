package dataplane

import (
	"errors"

	"golang.org/x/sys/unix"

	"vtepd/dataplane/xdp"
)

// takeOver ends what a former process left, by carrying on from it or by taking it down, and has the maps pinned for the next one. From then on a fast
// path that is switched on does so at once.
func (f *fastPath) takeOver() {
	f.configured = true
	if f.mirror != nil {
		f.pinned(f.mirror.takeOver())
		f.detachFormer()
		return
	}
	f.dropFormer()
}

// end is turnOff at the end of the switch. A former process's programs that were to be taken over, and were not, stay when the switch is abandoned.
func (f *fastPath) end() {
	m := f.mirror
	if m == nil || !m.held || !f.abandoned.Load() {
		f.turnOff(reasonOff)
		return
	}
	m.ageTimer.Stop()
	m.routes.close()
	m.hearing.stop()
	if err := m.e.Abandon(); err != nil {
		f.log.Warn("closing the fast path", "error", err)
	}
	f.forget(reasonOff)
}

// formerFilter is the socket filter that a port's device begins with, -1 when there is none: between the crash of a former process and the takeover its
// program carries what is known, and user space gets the rest and no more.
func (f *fastPath) formerFilter(ifindex int) int {
	fd := -1
	f.with(func(m *mirror) {
		if m.held {
			fd = m.e.FormerFilter(ifindex)
		}
	})
	return fd
}

// underFormer says whether a port's device relies on the program of a former process to shut the host's stack out.
func (mp *mirroredPort) underFormer() bool {
	dev, ok := mp.p.link.dev.(filteredDevice)
	return ok && mp.at == 0 && !mp.shut && !dev.Shut()
}

// shutPort ends that where the port does not come onto the fast path: user space gets every frame. The sink comes first, in front of the former's program:
// a frame in between is lost rather than doubled.
func (m *mirror) shutPort(mp *mirroredPort) {
	if mp.p.link == nil || !mp.underFormer() {
		return
	}
	mp.shut = true // also where there can be no sink: once is enough
	dev := mp.p.link.dev.(filteredDevice)
	switch err := errors.Join(dev.SetSink(true), dev.SetFilter(-1)); {
	case errors.Is(err, unix.ENODEV): // the interface was deleted, and what was attached to it with it
	case err != nil:
		m.log.Warn("fast path: taking a port from a former process", "port", mp.p.config.Name, "error", err)
	}
}

// detachFormer takes the programs of a former process off where ours cannot be pinned in the place of its own, and have not taken over from them: they would
// carry what ours leave to user space, by maps that nobody keeps in step.
func (f *fastPath) detachFormer() {
	dir := f.s.config.PinDir
	if dir == "" || f.pins != "" {
		return
	}
	switch n, err := xdp.Detach(dir); {
	case errors.Is(err, xdp.ErrLocked):
		f.log.Debug("fast path: another process uses the pins", "directory", dir)
	case err != nil:
		f.log.Warn("fast path: what a former process left may still carry", "directory", dir, "error", err)
	case n > 0:
		f.log.Warn("fast path: what a former process attached is off, its pins stay", "directory", dir, "programs", n)
	}
}

// dropFormer takes down programs that carry by the configuration of a former process, which nobody keeps in step with ours.
func (f *fastPath) dropFormer() {
	dir := f.s.config.PinDir
	if dir == "" {
		return
	}
	switch dropped, err := xdp.Drop(dir); {
	case errors.Is(err, xdp.ErrLocked):
		f.log.Debug("fast path: another process uses the pins", "directory", dir)
	case errors.Is(err, xdp.ErrReadOnly):
		f.log.Warn("fast path: what a former process attached is off, its pins stay", "directory", dir, "error", err)
	case err != nil:
		f.log.Warn("fast path: what a former process left may still carry", "directory", dir, "error", err)
	case dropped:
		f.removePinRoot(dir)
		f.log.Info("fast path of a former process taken down", "directory", dir)
	}
}
