package dataplane

import (
	"math/rand/v2"
	"slices"
	"testing"

	"vtepd/bench/lab"
	"vtepd/encap"
	"vtepd/encap/encaptest"
)

// burstSize is how many frames are under way at a time: less than any queue on the way holds.
const burstSize = 200

// TestFastPathIsTheSame: thousands of frames and datagrams of every kind, well-formed, crafted and noise, do the same by the fast path as by user space: what
// comes out where, byte for byte, every counter, and what is learned. Each kind of port meets each kind of underlay.
func TestFastPathIsTheSame(t *testing.T) {
	off := (*lab.Link).OffloadsOff // of the underlay, where XDP unwraps then
	for i, o := range []twinOptions{
		{kind: PortTAP}, {kind: PortVeth, v6: true, zero6: true, shape: off}, {kind: PortNetdev, v6: true, zero6: true},
		{kind: PortTAP, shape: off}, {kind: PortTAP, v6: true, zero6: true}, {kind: PortTAP, v6: true, zero6: true, shape: off}, {kind: PortTAP, v6: true},
		{kind: PortVeth}, {kind: PortVeth, shape: off}, {kind: PortVeth, v6: true, zero6: true}, {kind: PortVeth, v6: true},
		{kind: PortNetdev}, {kind: PortNetdev, v6: true},
	} {
		if testing.Short() && i == 3 {
			break
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting for queues to be empty
			tw := newTwins(t, o)
			for _, c := range slices.Concat(craftedCases, superframeCases) {
				tw.crafted(&c, !o.v6 || o.zero6)
			}
			tw.noise(400)
			t.Logf("%d frames, %d of them carried by the fast path; %d came out", tw.frames, tw.carried, tw.came)
			if tw.came < tw.frames/2 {
				t.Error("too few to have compared anything")
			}
		})
	}
}

// String is the name of what the twins are made of.
func (o twinOptions) String() string {
	name := string(o.kind) + " over IPv4"
	if o.v6 {
		name = string(o.kind) + " over IPv6"
	}
	if o.v6 && !o.zero6 {
		name += " with checksums"
	}
	if o.shape != nil {
		name += " by XDP"
	}
	return name
}

// craftedTries is how often a case is put until the fast path has carried what it should: a busy machine may keep it from that, which is no difference.
const craftedTries = 3

// crafted puts the frames of a case into both.
func (tw *twins) crafted(c *crafted, toPeers bool) {
	tw.t.Helper()
	want := c.others
	if toPeers {
		want += c.toPeers
	}
	for try := 1; ; try++ {
		before := tw.pair[1].Status().FastPath.Punted
		list := c.frames(tw)
		var carried uint64
		if c.step {
			carried = tw.each(c.name, list...)
		} else {
			for part := range slices.Chunk(list, burstSize) {
				carried += tw.burst(c.name, part...)
			}
		}
		tw.frames, tw.carried = tw.frames+uint64(len(list)), tw.carried+carried
		if carried >= want {
			return
		}
		tw.t.Logf("%s: the fast path carried %d of %d frames, want %d or more; left to user space: %v, then %v",
			c.name, carried, len(list), want, before, tw.pair[1].Status().FastPath.Punted)
		if try == craftedTries {
			tw.t.Errorf("%s: not compared", c.name)
			return
		}
	}
}

// noise puts random frames into both, among them such as every host sends, damaged ones, and ones with wrong addresses.
func (tw *twins) noise(n int) {
	tw.t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	stranger := uint64(0)
	var list []action
	for range n {
		vni := twinVNIs[rng.IntN(len(twinVNIs))].VNI
		src := []int{hostOwn, hostTrunk, hostMember0, hostMember1}[rng.IntN(4)]
		dst := []int{hostOwn, hostSecond, hostTrunk, hostMember0, hostMember1, hostMember0, hostNobody}[rng.IntN(7)]
		p := encaptest.Packet{
			SrcMAC: host(src), DstMAC: host(dst), V6: rng.IntN(3) == 0, TOS: uint8(rng.IntN(256)), TTL: uint8(rng.IntN(256)),
			Proto: []uint8{encap.ProtoUDP, encap.ProtoTCP, encap.ProtoICMP, 132}[rng.IntN(4)], Flags: uint8(rng.IntN(256)),
			SrcPort: uint16(rng.IntN(4)), DstPort: []uint16{2000, 4789}[rng.IntN(2)], Payload: encaptest.Payload(rng.IntN(1350), rng.Uint64()),
		}
		if rng.IntN(3) == 0 {
			p.Payload = p.Payload[:rng.IntN(min(len(p.Payload)+1, 100))]
		}
		switch rng.IntN(14) {
		case 0:
			stranger++
			p.SrcMAC = []uint64{0x01005e000001, 0x02_77_00_00_00_00 + stranger}[rng.IntN(2)]
		case 1:
			p.DstMAC = []uint64{broadcast, 0x0180c2000000, 0x3333_0000_0001}[rng.IntN(3)]
		case 2:
			p.Options, p.Fragment = make([]byte, 4*rng.IntN(11)), uint16(rng.IntN(1<<16))
		case 3:
			p.Pad = rng.IntN(200)
		}
		f := p.Frame()
		switch rng.IntN(12) {
		case 0:
			f[12+rng.IntN(len(f)-12)] ^= 1 << rng.IntN(8)
		case 1:
			f = f[:14+rng.IntN(len(f)-14)]
		}
		switch {
		case src == hostOwn:
			list = append(list, fromPort(ownPort[vni], f))
		case src == hostTrunk:
			if vni != 42 || rng.IntN(4) == 0 {
				f = putTag(f, encap.EtherTypeVLAN, map[uint32]uint16{42: 7, 10: 10, 11: 11, 12: 12, 13: 13}[vni]|uint16(rng.IntN(16))<<12)
			}
			list = append(list, fromPort("tr", f))
		default:
			d := datagramOf(vni, f)
			if rng.IntN(10) == 0 {
				d[rng.IntN(8)] ^= 1 << rng.IntN(8)
			}
			if rng.IntN(20) == 0 {
				d = d[:rng.IntN(len(d))]
			}
			r := src - hostMember0
			if rng.IntN(12) == 0 && vni == 42 {
				r, d = 2, datagramOf(vni, f) // somebody else's name
			}
			// The zero checksum over IPv6 is for the crafted ones: it depends on the socket.
			list = append(list, tw.fromRemote(r, d, func(o *encaptest.Packet) {
				o.TOS, o.TTL, o.NoChecksum = uint8(rng.IntN(256)), uint8(rng.IntN(256)), rng.IntN(2) == 0
			}))
		}
	}
	for part := range slices.Chunk(list, burstSize) {
		tw.carried += tw.burst("noise", part...)
	}
	tw.frames += uint64(n)
}
