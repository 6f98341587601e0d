package xdp

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// twoCPUs are those that a test may use at once.
func twoCPUs(t *testing.T) (cpus [2]int) {
	t.Helper()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	if allowed.Count() < len(cpus) {
		t.Skip("needs two CPUs")
	}
	for cpu, n := 0, 0; n < len(cpus); cpu++ {
		if allowed.IsSet(cpu) {
			cpus[n] = cpu
			n++
		}
	}
	return cpus
}

// stayOn keeps the calling goroutine on a CPU, for good.
func stayOn(t *testing.T, cpu int) {
	t.Helper()
	runtime.LockOSThread() // the thread ends with the goroutine
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Error(err)
	}
}

// interrupt has the kernel interrupt whatever runs on a CPU 50,000 times a second, programs among it.
func interrupt(t *testing.T, cpu int) {
	t.Helper()
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: unix.PERF_ATTR_SIZE_VER1, Sample: 20_000,
	}, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		t.Logf("no interrupts but those of others: %v", err)
		return
	}
	t.Cleanup(func() { unix.Close(fd) })
}

// TestMemoryUsedAgain takes elements out of maps and puts those of others in, to which the kernel gives the same memory, while a program runs on another CPU, which may
// be interrupted between finding an element and reading it. It must not take the frame of the one for the other's.
func TestMemoryUsedAgain(t *testing.T) {
	const otherVNI = 5
	macX := [6]byte{2, 0, 0, 0, 0, 0x77} // in the other VNI
	wire := letterFrom(remote4, known().frame(macA, macC))
	for _, c := range []struct {
		name    string
		program func(*bench) *ebpf.Program
		frame   []byte
		churn   func(*bench) func()
		crossed func(*bench) Counters
	}{
		{"port", func(b *bench) *ebpf.Program { return b.objects.VtepdTap }, known().frame(macX, macA), func(b *bench) func() {
			// A port of another VNI comes when this one goes.
			one, other := b.ports[0], Port{Index: 3, Ifindex: 1003, Kind: Netdev, MaxFrame: maxInner, Untagged: otherVNI, Serial: 13}
			var is, was programsPort
			for _, p := range []struct {
				port  Port
				value *programsPort
			}{{one, &is}, {other, &was}} {
				if b.PutPort(p.port) != nil || b.objects.Devices.Lookup(uint32(p.port.Ifindex), p.value) != nil {
					t.Fatal("cannot put a port")
				}
			}
			b.objects.Devices.Delete(uint32(other.Ifindex))
			return func() {
				b.objects.Devices.Delete(uint32(one.Ifindex))
				b.objects.Devices.Put(uint32(other.Ifindex), was)
				b.objects.Devices.Delete(uint32(other.Ifindex))
				b.objects.Devices.Put(uint32(one.Ifindex), is)
			}
		}, func(b *bench) Counters { return b.VNICounters(otherVNI) }},
		{"source", func(b *bench) *ebpf.Program { return b.objects.VtepdUnderlay }, wire.bytes(), func(b *bench) func() {
			one, other := SourceKey{testVNI, remote4}, SourceKey{otherVNI, remote6}
			return func() {
				b.objects.Sources.Delete(one.wire())
				b.objects.Sources.Put(other.wire(), programsSource{Peer: 1, Serial: 101})
				b.objects.Sources.Delete(other.wire())
				b.objects.Sources.Put(one.wire(), programsSource{Peer: 0, Serial: 100})
			}
		}, func(b *bench) Counters { return b.PeerCounters(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			other := testDomain()
			other.VNI, other.NewSources = otherVNI, true
			if err := b.PutDomain(other); err != nil {
				t.Fatal(err)
			}
			if err := b.PutEntry(Entry{VNI: otherVNI, MAC: macX, ToPeer: true, Index: 0}); err != nil {
				t.Fatal(err)
			}
			cpus, churn := twoCPUs(t), c.churn(b)
			var stop atomic.Bool
			ended := make(chan int)
			go func() {
				stayOn(t, cpus[0])
				n := 0
				for ; !stop.Load(); n++ {
					b.change(func() error { churn(); return nil })
					for rest := time.Now(); time.Since(rest) < 5*time.Microsecond; {
					}
				}
				ended <- n
			}()
			stayOn(t, cpus[1])
			interrupt(t, cpus[1])
			crossed := func() bool { return c.crossed(b) != Counters{} }
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && !crossed(); {
				if _, err := c.program(b).Run(&ebpf.RunOptions{Data: c.frame, Repeat: 1 << 12, DataOut: make([]byte, len(c.frame)+256)}); err != nil {
					t.Fatal(err)
				}
			}
			stop.Store(true)
			n := <-ended
			if crossed() {
				t.Errorf("a frame was carried as another's after %d changes: %+v", n, c.crossed(b))
			}
		})
	}
}
