package xdp

import (
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"vtepd/bench/lab"
)

// TestLinksInTheMaking: who looks through all links of the host is not stopped by one that another process is just attaching.
func TestLinksInTheMaking(t *testing.T) {
	l := lab.New(t)
	needFastPath(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, b, lab.LinkOptions{})
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, License: "MIT"})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	stop := make(chan struct{})
	var others sync.WaitGroup
	for _, h := range []*lab.Host{a, b} {
		ifindex := h.Index("eth0")
		others.Go(func() {
			_ = h.Do(func() error {
				for {
					select {
					case <-stop:
						return nil
					default:
					}
					x, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: ifindex})
					if err == nil { // not when the last one is being looked at
						x.Close()
					}
				}
			})
		})
	}
	own, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := own.ID()
	found := 0
	for began := time.Now(); time.Since(began) < 2*time.Second || found == 0 && time.Since(began) < lab.Patience; {
		if err := eachLink(func(at *link.Iterator) {
			if info, err := at.Link.Info(); err == nil && info.Program == id {
				found++
			}
		}); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	others.Wait()
	if found == 0 {
		t.Error("none was seen: this test proves nothing")
	}
}
