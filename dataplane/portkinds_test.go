package dataplane

import (
	"strings"
	"testing"

	"vtepd/bench/lab"
	"vtepd/encap"
)

// sceneKind is what the ports of a test's scenes are made of: TAPs, but for what runs inside of TestEveryKindOfPort.
func sceneKind(t testing.TB) PortType {
	if path := strings.Split(t.Name(), "/"); len(path) > 1 && path[0] == "TestEveryKindOfPort" {
		return PortType(path[1])
	}
	return PortTAP
}

// The behaviour of the switch does not depend on what its ports are made of: tests that were written for TAPs, with ports of the other kinds. What is put
// into a port and seen at it is put in and seen at the other end of a pair then.
//
//	p0 ══ p0 ──┐
//	p1 ══ p1 ──┤ switch ── eth0 ══ eth0 ── remotes
//	(out)  (sw)┘
func TestEveryKindOfPort(t *testing.T) {
	for _, kind := range []PortType{PortNetdev, PortVeth} {
		t.Run(string(kind), func(t *testing.T) {
			for _, test := range []struct {
				name string
				run  func(*testing.T)
			}{
				{"Tags", TestTags},
				{"KeptTags", TestKeptTags},
				{"TaggedSuperframes", TestTaggedSuperframes},
				{"NativeAlone", TestNativeAlone},
				{"LearnAndMove", TestLearnAndMove},
				{"LearningOff", TestLearningOff},
				{"PortDownForgets", TestPortDownForgets},
				{"StaticAndSticky", TestStaticAndSticky},
				{"LeavingAVNI", TestLeavingAVNI},
				{"FloodCounts", TestFloodCounts},
				{"FloodWithoutDestination", TestFloodWithoutDestination},
				{"FloodSuperframe", TestFloodSuperframe},
				{"VNIsAreApart", TestVNIsAreApart},
				{"EveryFrameIsAccountedFor", TestEveryFrameIsAccountedFor},
				{"FramesBetweenPortsAreJoined", TestFramesBetweenPortsAreJoined},
				{"BatchesDoNotAllocate", TestBatchesDoNotAllocate},
				{"CaptureWhatAndWhere", TestCaptureWhatAndWhere},
				{"CaptureIsWhatThereIs", TestCaptureIsWhatThereIs},
				{"CaptureSuperframes", TestCaptureSuperframes},
			} {
				t.Run(test.name, test.run)
			}
		})
	}
}

// outer is the host where a scene's ports are used: frames are put in and seen there.
func (s *scene) outer() *lab.Host {
	if s.outside != nil {
		return s.outside
	}
	return s.Host
}

// Inject puts frames into a port.
func (s *scene) Inject(port string, frames ...[]byte) {
	s.t.Helper()
	s.outer().Inject(port, frames...)
}

// InjectSuperframe puts a superframe into a port.
func (s *scene) InjectSuperframe(port string, header [encap.OffloadLen]byte, frame []byte) {
	s.t.Helper()
	s.outer().InjectSuperframe(port, header, frame)
}

// Sniff sees what comes out of a port.
func (s *scene) Sniff(port string) *lab.Sniffer {
	s.t.Helper()
	return s.outer().Sniff(port)
}

// ofKind is a port of the scene's kind.
func (s *scene) ofKind(c PortConfig) PortConfig {
	s.t.Helper()
	return s.node.ofKind(s.kind, s.outside, c)
}

// ofKind makes a port's configuration that of a kind, and the interface that a netdev takes. The other end, where there is one, is on the host outside
// and has the port's name too.
func (n *node) ofKind(kind PortType, outside *lab.Host, c PortConfig) PortConfig {
	n.t.Helper()
	c.Type = kind
	switch kind {
	case PortVeth:
		c.NetNS, c.IfName = outside.Name(), c.Name
	case PortNetdev:
		if c.MTU == 0 {
			c.MTU = 1450
		}
		if _, err := n.Netlink().LinkByName(c.Name); err != nil {
			n.Must("ip", "link", "add", c.Name, "type", "veth", "peer", "name", c.Name, "netns", outside.Name())
			outside.Up(c.Name)
		}
	}
	return c
}
