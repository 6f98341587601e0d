package dataplane

import (
	"log/slog"
	"testing"
)

// Who looks at what tenants send leaves a trace of it in the log: what was named, and how much was seen.
func TestCaptureIsLogged(t *testing.T) {
	t.Parallel()
	log := new(lines)
	s := newScene(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	s.set(VNIConfig{VNI: 42, Learning: true}, s.addrs()...)
	s.port("p0", 42)
	k := s.take(CaptureFilter{Port: "p0", VNI: 42, Dir: CaptureIn})
	s.Inject("p0", times(3, frameOf(station(1), broadcast))...)
	s.rest()
	if got := len(k.frames()); got != 3 {
		t.Errorf("%d frames", got)
	}
	k.end()
	s.take(CaptureFilter{Peer: peerAt(s.remotes[0].addr), Drops: true}).end()
	for _, want := range []string{
		`msg="capture begins" port=p0 vni=42`,
		`msg="capture ended" port=p0 vni=42 frames=3 lost=0`,
		`msg="capture begins" peer=` + s.remotes[0].addr.String() + ` drops=true`,
		`msg="capture ended" peer=` + s.remotes[0].addr.String() + ` drops=true frames=0 lost=0`,
	} {
		if log.count(want+"\n") != 1 {
			t.Errorf("%s is not in the log:\n%s", want, log.text())
		}
	}
}
