package dataplane

import (
	"errors"

	"vtepd/dataplane/xdp"
)

// takeOver ends what a former process left, by carrying on from it or by taking it down, and has the maps pinned for the next one. From then on a fast
// path that is switched on does so at once.
func (f *fastPath) takeOver() error {
	f.configured = true
	if f.mirror != nil {
		return f.mirror.takeOver()
	}
	f.dropFormer()
	return nil
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
	case err != nil:
		f.log.Warn("fast path: what a former process left may still carry", "directory", dir, "error", err)
	case dropped:
		f.removePinRoot(dir)
		f.log.Info("fast path of a former process taken down", "directory", dir)
	}
}
