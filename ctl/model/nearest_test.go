package model

import (
	"fmt"
	"testing"
	"time"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// A file with thousands of wrong names is refused at once: no hint is looked for among thousands.
func TestManyWrongNames(t *testing.T) {
	m := New()
	m.Global.Interface = "eth0"
	const names = 4000
	for i := range uint32(names) {
		m.VNIs.Put(1+i, &VNI{})
		m.Ports.Put(fmt.Sprintf("tap%d", i), &Port{Type: dataplane.PortTAP, VNI: 900000 + i})
		m.Statics.Put(StaticKey{1, fdb.MAC(0x020000000000 + uint64(i))}, Static{Port: fmt.Sprintf("tbp%d", i), State: fdb.Static})
	}
	began := time.Now()
	problems := m.Validate()
	if len(problems) != maxProblems {
		t.Errorf("%d problems, want %d", len(problems), maxProblems)
	}
	// With a search for each this takes 20 s.
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	few := []string{"tap0", "tap1"}
	if got := Nearest("tab0", few); got != "tap0" {
		t.Errorf("among few: %q", got)
	}
}
