package encap_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// followAll offers each frame as one that follows the last one added, and adds it where it does not. It says which followed.
func followAll(tb testing.TB, c *encap.Coalescer, frames [][]byte) (followed []bool) {
	tb.Helper()
	leader := uint32(0)
	for i, f := range frames {
		follows := i > 0 && c.Follow(leader, f)
		if !follows {
			leader = uint32(i)
			if !c.Add(1, leader, allCaps, f) {
				tb.Fatalf("frame %d: no room", i)
			}
		}
		followed = append(followed, follows)
	}
	return followed
}

// checkFollow wants the same superframes from Follow as from Add alone, which works on copies of the frames.
func checkFollow(tb testing.TB, frames [][]byte) (followed []bool) {
	tb.Helper()
	want, got := encap.NewCoalescer(len(frames)+1), encap.NewCoalescer(len(frames)+1)
	want.SetSeed(1)
	got.SetSeed(1)
	addAll(tb, want, clones(frames))
	followed = followAll(tb, got, frames)
	if want.Len() != got.Len() {
		tb.Fatalf("%d superframes, %d without Follow: %v", got.Len(), want.Len(), followed)
	}
	for i := range want.Len() {
		w, g := want.Slot(i), got.Slot(i)
		if diff := cmp.Diff(w.Off, g.Off); diff != "" || !slices.EqualFunc(w.Parts, g.Parts, bytes.Equal) {
			tb.Fatalf("superframe %d differs: %s%v", i, diff, followed)
		}
		tags := slices.DeleteFunc(slices.Clone(w.Tags), func(tag uint32) bool { return followed[tag] })
		if !slices.Equal(g.Tags, tags) {
			tb.Fatalf("superframe %d has tags %v, want %v", i, g.Tags, tags)
		}
	}
	return followed
}

// TestFollow: of a superframe that was cut every piece but the first follows.
func TestFollow(t *testing.T) {
	for _, tt := range superframes() {
		if len(tt.p.Options) > 0 || len(tt.p.Extensions) > 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			n := len(tt.p.Payload)
			if tt.p.Proto == encap.ProtoUDP {
				n = min(n, 40*tt.size)
			}
			tt.p.Payload = tt.p.Payload[:min(n, 65000)]
			superframe, off := tt.p.Superframe(uint16(tt.size))
			segments := cut(t, superframe, off)
			for i, follows := range checkFollow(t, segments) {
				if follows != (i > 0) {
					t.Errorf("segment %d of %d: follows=%t", i, len(segments), follows)
				}
			}
		})
	}
}

// TestFollowNot: what does not follow is left to Add, and Follow has changed nothing.
func TestFollowNot(t *testing.T) {
	leader := encaptest.Packet{Flags: encap.TCPAck, TCPOptions: encaptest.Timestamps(1, 2), Payload: encaptest.Payload(500, 1), Seq: 1000, ID: 7}
	next := leader
	next.Seq, next.ID = 1500, 8
	for _, tt := range []struct {
		name   string
		change func(p *encaptest.Packet)
		frame  func(f []byte) []byte
	}{
		{name: "another port", change: func(p *encaptest.Packet) { p.SrcPort = 9 }},
		{name: "another protocol", change: func(p *encaptest.Packet) { p.Proto = encap.ProtoUDP }},
		{name: "another destination", change: func(p *encaptest.Packet) { p.DstMAC = 0x02_00_00_00_00_77 }},
		{name: "IPv6", change: func(p *encaptest.Packet) { p.V6 = true }},
		{name: "a tag", change: func(p *encaptest.Packet) { p.Tags = []uint16{5} }},
		{name: "a gap", change: func(p *encaptest.Packet) { p.Seq++ }},
		{name: "longer", change: func(p *encaptest.Packet) { p.Payload = encaptest.Payload(501, 1) }},
		{name: "no payload", change: func(p *encaptest.Packet) { p.Payload = nil }},
		{name: "other options", change: func(p *encaptest.Packet) { p.TCPOptions = encaptest.Timestamps(9, 2) }},
		{name: "no options", change: func(p *encaptest.Packet) { p.TCPOptions = nil }},
		{name: "IP options", change: func(p *encaptest.Packet) { p.Options = []byte{1, 1, 1, 1} }},
		{name: "SYN", change: func(p *encaptest.Packet) { p.Flags |= encap.TCPSyn }},
		{name: "CWR", change: func(p *encaptest.Packet) { p.Flags |= encap.TCPCwr }},
		{name: "another traffic class", change: func(p *encaptest.Packet) { p.TOS = 1 }},
		{name: "fragment", change: func(p *encaptest.Packet) { p.Fragment = encap.IPv4MoreFragments }},
		{name: "wrong checksum", change: func(p *encaptest.Packet) { p.BadChecksum = true }},
		{name: "wrong IP checksum", change: func(p *encaptest.Packet) { p.BadIPChecksum = true }},
		{name: "padding", frame: func(f []byte) []byte { return append(f, 0) }},
		{name: "cut short", frame: func(f []byte) []byte { return f[:len(f)-1] }},
		{name: "headers alone", frame: func(f []byte) []byte { return f[:66] }},
		{name: "empty", frame: func([]byte) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := next
			if tt.change != nil {
				tt.change(&p)
			}
			f := p.Frame()
			if tt.frame != nil {
				f = tt.frame(f)
			}
			before := bytes.Clone(f)
			c := encap.NewCoalescer(4)
			addAll(t, c, [][]byte{leader.Frame()})
			if c.Follow(0, f) {
				t.Error("it follows")
			}
			if c.Len() != 1 || len(c.Slot(0).Parts) != 1 || !bytes.Equal(f, before) {
				t.Error("something was changed")
			}
		})
	}
	t.Run("it does", func(t *testing.T) {
		if followed := checkFollow(t, [][]byte{leader.Frame(), next.Frame()}); !followed[1] {
			t.Error("the frame that all others are variants of does not follow")
		}
	})
	t.Run("behind another frame", func(t *testing.T) {
		c := encap.NewCoalescer(4)
		ack := encaptest.Packet{Flags: encap.TCPAck}
		addAll(t, c, [][]byte{leader.Frame(), ack.Frame()})
		if c.Follow(1, next.Frame()) {
			t.Error("it follows a frame of another flow")
		}
	})
	t.Run("after Reset", func(t *testing.T) {
		c := encap.NewCoalescer(4)
		addAll(t, c, [][]byte{leader.Frame()})
		c.Reset()
		if c.Follow(0, next.Frame()) {
			t.Error("it follows a frame that was forgotten")
		}
	})
}
