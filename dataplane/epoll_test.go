package dataplane

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vtepd/bench/lab"
	"vtepd/dataplane/netdev"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// TestRestOfBurst: a superframe that the kernel cannot hand out, here of UFO, ends a batch early; what came behind it is read without another frame's coming.
//
//	queue of a TAP (as a virtual machine's) ── vm0 ── packet socket in an epoll set
func TestRestOfBurst(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	silence(t, h)
	if err := h.Do(func() error { return restOfBurst(t) }); err != nil {
		t.Fatal(err)
	}
}

func restOfBurst(t *testing.T) error {
	guest, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(guest)
	req, err := unix.NewIfreq("vm0")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(guest, unix.TUNSETIFF, req); err != nil {
		return err
	}
	device, err := netlink.LinkByName("vm0")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return err
	}
	write := func(off encap.Offload, f []byte) {
		header := encodeOffload(off)
		if _, err := unix.Write(guest, append(header[:], f...)); err != nil {
			t.Error(err)
		}
	}
	dev, err := netdev.Open(netdev.Options{Name: "vm0", Queues: 1, Offload: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	poll, err := newPoller()
	if err != nil {
		return err
	}
	w := &worker{poll: poll}
	defer poll.close()
	l := &link{dev: dev, packets: []*netdev.Queue{dev.Handle(0)}, serial: 1}
	if err := w.watchPort(l, 7); err != nil {
		return err
	}
	r, err := netdev.NewReceiver()
	if err != nil {
		return err
	}
	defer r.Close()

	good := encaptest.Packet{SrcMAC: station(1), DstMAC: station(9), Payload: encaptest.Payload(100, 1)}.Frame()
	bad, off := encaptest.Packet{SrcMAC: station(1), DstMAC: station(9), Payload: encaptest.Payload(4000, 1)}.Superframe(1400)
	off.GSOType = encap.GSOUDP
	for round := range 3 {
		const before, behind = 5, 20
		for range before {
			write(encap.Offload{}, good)
		}
		write(off, bad)
		for range behind {
			write(encap.Offload{}, good)
		}
		frames, unreadable := 0, 0
		// What is written in between is not taken for it: the error waits on the socket for its next call.
		if round == 2 {
			got, lost, _ := r.Recv(l.packets[0], netdev.MaxFrames)
			if frames, unreadable = len(got), lost; frames != before || lost != 0 {
				t.Errorf("%d frames and %d unreadable ones at first, want %d and none", frames, lost, before)
			}
			if !l.packets[0].Add(encap.Offload{}, [][]byte{good}, 0) {
				return errors.New("no room in an empty queue")
			}
			l.packets[0].Flush(func(_ uint32, err error) { t.Errorf("a frame to the interface: %v", err) })
		}
		for {
			events := poll.look(200)
			if events == nil {
				break
			}
			for drained := false; !drained; {
				var got []netdev.Frame
				var lost int
				got, lost, drained = r.Recv(l.packets[0], netdev.MaxFrames)
				frames += len(got)
				unreadable += lost
			}
		}
		if frames != before+behind || unreadable != 1 {
			t.Errorf("round %d: %d frames and %d unreadable ones, want %d and 1", round, frames, unreadable, before+behind)
		}
	}
	return nil
}

// TestFormerSocketReportsLast: a group that is joined anew is read by its new socket, whichever of the two has something first.
func TestFormerSocketReportsLast(t *testing.T) {
	t.Parallel()
	for name, serials := range map[string][]uint32{"new, old": {8, 7}, "old, new": {7, 8}, "over the end": {1, 1<<32 - 1}, "new, old, new": {8, 7, 8}} {
		w := &worker{}
		for _, serial := range serials {
			w.note([]unix.EpollEvent{{Fd: firstGroup, Pad: int32(serial)}})
		}
		want := source{firstGroup, 8}
		if name == "over the end" {
			want.serial = 1
		}
		if len(w.ready) != 1 || w.ready[0] != want {
			t.Errorf("%s: %v, want %v", name, w.ready, want)
		}
	}
}
