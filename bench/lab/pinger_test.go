package lab

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPinger(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, LinkOptions{})
	for _, p := range []*Pinger{a.Pinger(b.Underlay4()), a.Pinger(b.Underlay6())} {
		if err := p.Echoes(50, time.Millisecond, 1000); err != nil {
			t.Error(err)
		}
		if lost, err := p.Ping(0, 1, 56, 1400, 4000, 60000); lost != 0 || err != nil {
			t.Errorf("%d lost: %v", lost, err)
		}
		if err := p.DontFragment(true); err != nil {
			t.Fatal(err)
		}
		if err := p.Send(1500 - p.Headers()); err != nil {
			t.Error(err)
		}
		if err := p.Send(1501 - p.Headers()); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("a byte above the MTU: %v", err)
		}
	}
}

// TestPingerNotices has b's kernel not answer, and answers in its place.
//
//	a {eth0} ══ {eth0} b
func TestPingerNotices(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, LinkOptions{})
	if _, err := a.Pinger(b.Underlay4()).Ping(1); err != nil { // the neighbours are known from here on
		t.Fatal(err)
	}
	if err := b.Sysctl("net/ipv4/icmp_echo_ignore_all", "1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		n      int
		answer func(reply []byte)
		want   string
	}{
		{"in silence", 3, func([]byte) {}, "3 sent, 0 answered"},
		{"twice", 3, func(reply []byte) { b.Inject("eth0", reply, reply) }, "answers too many"},
		{"changed", 1, func(reply []byte) {
			data := reply[14+20+icmpHeaderLen:]
			copy(data, []byte{data[2], data[3], data[0], data[1]}) // the sum stays right
			b.Inject("eth0", reply)
		}, "came back changed"},
		{"late", 3, func(reply []byte) {
			time.Sleep(300 * time.Millisecond)
			b.Inject("eth0", reply)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := a.Pinger(b.Underlay4())
			defer p.Close()
			if strings.Contains(c.want, "0 answered") {
				p.Wait = 100 * time.Millisecond
			}
			s := b.Sniff("eth0")
			defer s.Close()
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				for range c.n {
					f, ok := s.Until(Patience, func(f []byte) bool { return f[12] == 8 && f[13] == 0 && f[14+9] == unix.IPPROTO_ICMP })
					if !ok {
						t.Error("no request came")
						return
					}
					c.answer(reply(f.Data))
				}
			}()
			err := p.Echoes(c.n, time.Millisecond, 56)
			<-answered
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// reply turns an echo request into its reply, in place.
func reply(f []byte) []byte {
	for _, field := range [][3]int{{0, 6, 6}, {26, 30, 4}} {
		x, y := f[field[0]:field[0]+field[2]], f[field[1]:field[1]+field[2]]
		for i := range x {
			x[i], y[i] = y[i], x[i]
		}
	}
	icmp := f[34:]
	icmp[0] = echoReply4
	sum := uint32(binary.BigEndian.Uint16(icmp[2:])) + echoRequest4<<8
	binary.BigEndian.PutUint16(icmp[2:], uint16(sum+sum>>16))
	return f
}
