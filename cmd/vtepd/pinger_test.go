package main_test

import (
	"net/netip"
	"testing"

	"vtepd/bench/lab"
)

// pinger is a lab's, whose errors end the test, and which counts what was lost.
type pinger struct {
	t *testing.T
	*lab.Pinger
	lost int // requests without an answer
}

func newPinger(t *testing.T, from *lab.Host, to netip.Addr) *pinger {
	t.Helper()
	return &pinger{t: t, Pinger: from.Pinger(to)}
}

// dontFragment has the stack send whole what the device's MTU allows and refuse the rest, or fragment the rest.
func (p *pinger) dontFragment(on bool) {
	p.t.Helper()
	if err := p.DontFragment(on); err != nil {
		p.t.Fatal(err)
	}
}

// ping sends a request of each size, all at once, and fails the test when an answer does not come, or is not what was sent.
func (p *pinger) ping(sizes ...int) {
	p.t.Helper()
	lost, err := p.Ping(sizes...)
	p.lost += lost
	if err != nil {
		p.t.Fatal(err)
	}
}
