package daemon

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// more is the time that the service manager is asked for at once: far more than any step takes, and little where something is stuck.
const more = time.Minute

// closePort is what the end of a port may take on a slow host.
const closePort = 100 * time.Millisecond

// notify tells the service manager; without one nothing happens.
func (d *running) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		d.log.Warn("the service manager cannot be told", "reason", err)
	}
}

// askForTime asks the service manager for t from now on. It never shortens what the manager grants by itself (systemd: TimeoutStartSec=, TimeoutStopSec=).
func (d *running) askForTime(t time.Duration) {
	d.notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", t.Microseconds()))
}

// askForStop asks for the time that the end of all ports takes.
func (d *running) askForStop() {
	d.askForTime(more + time.Duration(d.control.Model().Ports.Len())*closePort)
}

// tellProgress asks the service manager for more time as long as control goes on with a change: thousands of ports take longer than it grants to a start.
// It returns what ends it.
func (d *running) tellProgress() (end func()) {
	before, done, ended := d.control.Progress(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(d.beat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if now := d.control.Progress(); now != before {
					before = now
					d.askForTime(more)
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// watchdog tells the service manager, twice in the time it allows, that control still takes turns. It returns what ends it.
func (d *running) watchdog() (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(interval / 2)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := d.control.Ping(interval / 4); err != nil {
					d.log.Warn("watchdog", "reason", err)
					continue
				}
				d.notify(daemon.SdNotifyWatchdog)
			}
		}
	}()
	return func() { close(done) }
}
