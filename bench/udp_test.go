package bench

import (
	"errors"
	"testing"
	"time"

	"vtepd/bench/lab"
)

// TestLoadOfWhichNothingArrives: it is a network that does not carry, not one that carries 0 packets a second.
//
//	a {eth0} ══ {eth0} b, whose MAC a has wrong
func TestLoadOfWhichNothingArrives(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.New(t)
	a, b, err := buildBare(l, Veth)
	if err != nil {
		t.Fatal(err)
	}
	a.Host.Must("ip", "neigh", "replace", b.Addr.String(), "lladdr", "02:00:00:00:00:99", "dev", "eth0")
	for _, mixed := range []bool{false, true} {
		if load, err := UDPLoad(a, b, 50*time.Millisecond, mixed); !errors.Is(err, errLoad) {
			t.Errorf("mixed %v: %+v, error %v", mixed, load, err)
		}
	}
}
