package netdev

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// The place of the sink is lent to a program and comes back, whether the sink was switched off meanwhile or not; the host is shut out whenever the sink is on.
//
//	host {port0} ══ {eth0} workload
func TestLendSink(t *testing.T) {
	s := newStage(t)
	d := s.open(nil)
	fd := d.LendSink()
	if fd < 0 {
		t.Skip("the kernel has no tcx (Linux 6.6)")
	}
	lent, err := link.NewFromFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Close()
	other, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}}) // TCX_NEXT
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	there := func() (id ebpf.ProgramID) {
		t.Helper()
		s.do(func() error {
			r, err := link.QueryPrograms(link.QueryOptions{Target: s.host.Index("port0"), Attach: ebpf.AttachTCXIngress})
			if err == nil && len(r.Programs) == 1 {
				id = r.Programs[0].ID
			}
			return err
		})
		return id
	}
	id := func(p *ebpf.Program) ebpf.ProgramID {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		return id
	}
	for _, off := range []bool{false, true} {
		if err := lent.Update(other); err != nil {
			t.Fatal(err)
		}
		if off {
			if err := d.SetSink(false); err != nil || d.Shut() || d.LendSink() != -1 {
				t.Errorf("off: %v, shut %v", err, d.Shut())
			}
		}
		if got := there(); got != id(other) {
			t.Errorf("off %v: program %d, want %d, the other's", off, got, id(other))
		}
		if err := d.InheritSink(fd); err != nil || !d.Shut() {
			t.Errorf("off %v: inherit: %v, shut %v", off, err, d.Shut())
		}
		if got := there(); got != id(d.sink.program) {
			t.Errorf("off %v: program %d, want %d, the sink's", off, got, id(d.sink.program))
		}
	}
	if err := lent.Close(); err != nil {
		t.Fatal(err)
	}
	if got := there(); got != id(d.sink.program) {
		t.Errorf("given back: program %d, want %d, the sink's", got, id(d.sink.program))
	}
	listed, err := link.NewFromFD(d.LendSink())
	if err != nil {
		t.Fatal(err)
	}
	defer listed.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := there(); got != 0 {
		t.Errorf("closed while somebody looks at the link: program %d stays", got)
	}
	if err := d.InheritSink(-1); err == nil {
		t.Error("a closed device takes a sink")
	}
}
