package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"vtepd/ctl"
)

// oneStop is how long further signals count as the one that asked for the stop: `timeout` sends one to its child and another to the child's group, and a
// service manager and a terminal may both have their say.
const oneStop = time.Second

// stopAsked is the signal that asked for the stop, as the cause of the end of life.
type stopAsked struct{ os.Signal }

func (s stopAsked) Error() string { return s.String() }

// heedStops has signals end life from now on: whatever is under way then, be it the start or a reload, is to end as soon as it can. One that comes later ends
// the process at once. It returns what ends that.
func (d *running) heedStops() (end func()) {
	life, cancel := context.WithCancelCause(context.Background())
	d.life = life
	done := make(chan struct{})
	go func() {
		var asked time.Time
		for {
			select {
			case <-done:
				return
			case sig := <-d.stops:
				switch {
				case asked.IsZero():
					asked = time.Now()
					cancel(stopAsked{sig})
				case time.Since(asked) >= oneStop:
					d.stopAtOnce(sig)
					return
				}
			}
		}
	}()
	return func() {
		close(done)
		cancel(nil)
	}
}

// stopAtOnce ends the process while a stop is under way.
func (d *running) stopAtOnce(sig os.Signal) {
	d.log.Warn("stopping at once", "reason", "second "+sig.String())
	if path := d.served.Load(); path != nil {
		os.Remove(*path)
	}
	d.exit(ExitInternal)
}

func (d *running) sayStopping(reason string) {
	d.notify(daemon.SdNotifyStopping)
	d.log.Info("stopping", "reason", reason)
}

// stoppedBy says whether an error is that a signal asked for the stop.
func stoppedBy(err error) bool {
	var s stopAsked
	return errors.As(err, &s) || errors.Is(err, ctl.ErrStopping)
}

// unread is what comes of a file that could not be read: no error where a signal asked for the stop, unless somebody waits for a verdict on the file.
func (d *running) unread(err error) error {
	switch {
	case !stoppedBy(err):
		return err
	case d.settings.check:
		return fmt.Errorf("%s: not verified: %w", d.settings.config, err)
	}
	d.sayStopping(err.Error())
	return nil
}

// giveUpStart ends a start that a signal interrupted. What a former process left, pairs of ports that were still to come and programs, is taken up or taken
// away first: a stop leaves nothing behind, and this one may be the last vtepd to know of it.
func (d *running) giveUpStart(sw dataPlane) error {
	d.sayStopping(context.Cause(d.life).Error())
	d.askForStop()
	sw.RemoveLeftPairs(nil)
	_ = sw.TakeOver() // the switch is closed next, whatever it lacks
	return nil
}
