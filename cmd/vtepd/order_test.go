package main_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// datagrams are sent over the overlay one by one, so that each that is lost is missed.
type datagrams struct {
	what           string
	sent, received atomic.Uint64
	stop           chan struct{}
	stopped        chan error
	client, server net.Conn
}

// datagramEvery is the time between two of them: a moment in which they are lost is not passed by.
const datagramEvery = 200 * time.Microsecond

func sendDatagrams(t *testing.T, from, to *lab.Host, address netip.Addr) *datagrams {
	t.Helper()
	d := &datagrams{what: from.Name() + " to " + to.Name(), stop: make(chan struct{}), stopped: make(chan error, 1)}
	var server *net.UDPConn
	err := to.Do(func() (err error) {
		if server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0))); err == nil {
			err = server.SetReadBuffer(4 << 20)
		}
		return err
	})
	if err == nil {
		err = from.Do(func() (err error) {
			d.client, err = new(net.Dialer).DialContext(context.Background(), "udp", server.LocalAddr().String())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	d.server = server
	t.Cleanup(func() { d.client.Close(); d.server.Close() })
	go func() {
		for b := make([]byte, 64); ; d.received.Add(1) {
			if _, err := d.server.Read(b); err != nil {
				return
			}
		}
	}()
	go func() {
		for tick := time.NewTicker(datagramEvery); ; {
			select {
			case <-d.stop:
				d.stopped <- nil
				return
			case <-tick.C:
			}
			if _, err := d.client.Write(make([]byte, 32)); err != nil {
				d.stopped <- err
				return
			}
			d.sent.Add(1)
		}
	}()
	return d
}

// end fails the test when one has not arrived.
func (d *datagrams) end(t *testing.T) {
	t.Helper()
	close(d.stop)
	if err := <-d.stopped; err != nil {
		t.Errorf("%s: %v", d.what, err)
	}
	for end := time.Now().Add(2 * time.Second); d.received.Load() < d.sent.Load() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if sent, received := d.sent.Load(), d.received.Load(); sent == 0 || received != sent {
		t.Errorf("%s: %d of %d datagrams arrived", d.what, received, sent)
	}
}

// A reload that takes away what two hosts and two ports talk by, and is refused for a port that cannot be made, takes nothing away meanwhile.
//
//	eth0 198.51.100.11 (work) ══ web0 ─┐
//	                                   ├ vtepd ── eth0 ══ eth0 ── vtepd ── vtep0
//	                             vtep0 ┘
func TestRefusedReloadLosesNothing(t *testing.T) {
	t.Parallel()
	l, ha, hb, _ := pair(t)
	work := l.Host("work")
	more := "- {name: web0, type: veth, vni: 42, netns: " + work.Name() + ", addresses: [198.51.100.11/24]}\n"
	plain := overlay(ha.Underlay4(), hb.Underlay4(), ha.OverlayPrefixes(), more)
	a := start(t, l, ha, plain)
	start(t, l, hb, overlay(hb.Underlay4(), ha.Underlay4(), hb.OverlayPrefixes()))
	inside := netip.MustParseAddr("198.51.100.11")
	flows := []*datagrams{}
	for _, f := range []struct {
		from, to *lab.Host
		address  netip.Addr
	}{{ha, hb, hb.Overlay4()}, {hb, work, inside}, {work, ha, ha.Overlay4()}} {
		reach(t, f.from, f.address)
		flows = append(flows, sendDatagrams(t, f.from, f.to, f.address))
	}
	bad := strings.NewReplacer(
		`peers: ["`+hb.Underlay4().String()+`"]}`, "peers: [192.0.2.78], max-macs: 1}\n- {vni: 43}",
		"type: veth, vni: 42", "type: veth, vni: 43",
	).Replace(plain) + "- {name: tap6, type: tap, vni: 42}\n- {name: tap7, type: tap, vni: 42, netns: vtepd-no-such}\n"
	for range 20 {
		if line := a.reload(t, bad); !strings.Contains(line, "nothing changed") || !strings.Contains(line, "vtepd-no-such") {
			t.Fatalf("reload of a broken file: %s", line)
		}
	}
	for _, f := range flows {
		f.end(t)
	}
}
