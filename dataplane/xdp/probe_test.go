package xdp

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// What was forbidden once is asked for again, and what was found is remembered.
func TestProbeAgain(t *testing.T) {
	t.Parallel()
	needFastPath(t)
	var p probing
	var forbidden Capabilities
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends without its capabilities
		err := withoutBPF()
		if err == nil {
			forbidden = p.ask()
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if forbidden.BPF.On || forbidden.TCX.On || forbidden.BPF.Reason == "" {
		t.Errorf("without CAP_BPF: %+v", forbidden)
	}
	if got, want := p.ask(), Probe(); got != want {
		t.Errorf("with it again: %+v, want %+v", got, want)
	}
	if !p.known {
		t.Error("what the kernel has is not remembered")
	}
}

// withoutBPF takes from the calling thread what it may load programs by.
func withoutBPF() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for _, bit := range []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN} {
		data[bit/32].Effective &^= 1 << (bit % 32)
	}
	return unix.Capset(&header, &data[0])
}
