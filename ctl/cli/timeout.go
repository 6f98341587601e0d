package cli

import (
	"context"
	"fmt"
	"time"

	"vtepd/ctl/model"
)

// outOfTime is how a command ends that --timeout bounds.
type outOfTime time.Duration

func (d outOfTime) Error() string { return fmt.Sprintf("%v are over (--timeout)", time.Duration(d)) }

// parseTimeout reads the value of --timeout.
func parseTimeout(s string) (time.Duration, error) {
	d, err := model.ParseDuration(s)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is negative: write 0 to wait for as long as it takes", shorten(s))
	}
	return d, err
}

// bound has a command line, spelled out, end in the time that --timeout gives it, if it does: the client's own bounds are none of its then. What goes on until it is
// interrupted does so all the same.
func (a *App) bound(ctx context.Context, words []string) (context.Context, context.CancelFunc, error) {
	if !a.flagSet.Changed("timeout") {
		return ctx, func() {}, nil
	}
	d, err := parseTimeout(a.timeout)
	if err != nil {
		return nil, nil, usagef("vtepctl [OPTIONS] OBJECT VERB [WORDS]", "--timeout: %v", err)
	}
	a.client.BoundByContext()
	if d == 0 || endless(words) {
		return ctx, func() {}, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, d, outOfTime(d))
	return bounded, cancel, nil
}

// endless says whether a command goes on until it is interrupted.
func endless(words []string) bool {
	o, err := findObject(words[0])
	return err == nil && o.self != nil && o.self.endless
}
