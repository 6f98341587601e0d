package xdp

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// TestAttachOver: a link that holds the place of a port's program gets it in the place of its own, and gives it up again, both without another link; one that
// something has come to stand before does not.
func TestAttachOver(t *testing.T) {
	t.Parallel()
	dir := pinDir(t)
	first := true
	a, _ := newSides(t, false, false, func(o *Options, _ *Domain) {
		if first {
			o.PinDir, first = dir, false
		}
	})
	const port = 77
	a.host.Must("ip", "link", "add", "d0", "index", "77", "type", "veth", "peer", "name", "d1")
	pin := a.f.pins.link(place{port, Ingress})
	ours, err := a.f.program(Ingress).Info()
	if err != nil {
		t.Fatal(err)
	}
	our, _ := ours.ID()
	// at lists the links at the ingress, and says which of them has the program.
	at := func() (ids []link.ID, has link.ID) {
		t.Helper()
		a.do(func() error {
			there, err := link.QueryPrograms(link.QueryOptions{Target: port, Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			for _, p := range there.Programs {
				id, _ := p.LinkID()
				if ids = append(ids, id); p.ID == our {
					has = id
				}
			}
			return nil
		})
		return ids, has
	}
	shut := func() (l link.Link, id link.ID) {
		t.Helper()
		a.do(func() (err error) { l, err = shutDevice(port); return err })
		t.Cleanup(func() { l.Close() })
		ids, _ := at()
		return l, ids[0]
	}
	attach := func(over link.Link) {
		t.Helper()
		fd, err := unix.FcntlInt(uintptr(over.(interface{ FD() int }).FD()), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		a.do(func() error { return a.f.AttachPort(port, Ingress, fd) })
		if !exists(pin) {
			t.Error("the program is not pinned")
		}
	}

	holder, id := shut()
	attach(holder)
	if ids, has := at(); len(ids) != 1 || has != id {
		t.Errorf("links %v, ours is %d, want %d alone", ids, has, id)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if ids, has := at(); len(ids) != 1 || has != id {
		t.Errorf("its former holder has let go: links %v, ours is %d, want %d alone", ids, has, id)
	}

	var heir link.Link
	if err := a.f.DetachPort(port, func(fd int) bool {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			heir, err = link.NewFromFD(copied)
		}
		if err != nil {
			t.Error(err)
		}
		p, err := ebpf.NewProgram(nothing.Copy())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		err = heir.Update(p)
		if err != nil {
			t.Error(err)
		}
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	if ids, has := at(); len(ids) != 1 || ids[0] != id || has != 0 || exists(pin) {
		t.Errorf("given up: links %v, ours is %d, pinned %v, want %d alone, which is not", ids, has, exists(pin), id)
	}
	for _, is := range a.f.Attachments() {
		if is.Ifindex == port {
			t.Errorf("given up: attached %+v", is)
		}
	}

	_, before := shut()
	attach(heir)
	if ids, has := at(); len(ids) != 3 || ids[0] != has || ids[1] != before || ids[2] != id {
		t.Errorf("links %v, ours is %d, want it before %d and %d", ids, has, before, id)
	}
	if err := a.f.DetachPort(port, func(fd int) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if ids, has := at(); len(ids) != 2 || has != 0 || exists(pin) {
		t.Errorf("detached: links %v, ours is %d, pinned %v", ids, has, exists(pin))
	}

	// What is no link holds nothing.
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.do(func() error { return a.f.AttachPort(port, Ingress, null) })
	if _, has := at(); has == 0 {
		t.Error("not attached")
	}
	if err := heir.Close(); err != nil {
		t.Error(err)
	}
}
