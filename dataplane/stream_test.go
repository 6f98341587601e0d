package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"vtepd/encap/encaptest"
)

// quietTime is how long a collector waits for stragglers once the switches are idle.
const quietTime = 10 * time.Millisecond

// mustAddr parses an address that is one.
func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// peerAt is a remote VTEP on the usual port.
func peerAt(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, DefaultPort) }

// wantStream wants frames to be the TCP stream of sent in order, in a number of frames, or in any number when that is 0.
func (s *scene) wantStream(where string, frames [][]byte, sent encaptest.Packet, count int) {
	s.t.Helper()
	if count != 0 && len(frames) != count {
		s.t.Errorf("%s: %d frames, want %d", where, len(frames), count)
	}
	var got []byte
	for i, f := range frames {
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			s.t.Errorf("%s: frame %d is not TCP: %v", where, i, p)
			return
		}
		if want := sent.Seq + uint32(len(got)); tcp.Seq != want {
			s.t.Errorf("%s: frame %d has sequence number %d, want %d", where, i, tcp.Seq, want)
		}
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		if binary.BigEndian.Uint16(eth.DstMAC) != uint16(sent.DstMAC>>32) {
			s.t.Errorf("%s: frame %d goes to %s", where, i, eth.DstMAC)
		}
		got = append(got, tcp.Payload...)
	}
	if !bytes.Equal(got, sent.Payload) {
		s.t.Errorf("%s: %d bytes of payload differ from the %d sent", where, len(got), len(sent.Payload))
	}
}

// wantChecksums computes the checksums of a finished frame again.
func wantChecksums(t *testing.T, frame []byte) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	again := []gopacket.SerializableLayer{}
	var network gopacket.NetworkLayer
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(network)
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(network)
		}
		serializable, ok := l.(gopacket.SerializableLayer)
		if !ok {
			t.Errorf("layer %s cannot be written again", l.LayerType())
			return
		}
		again = append(again, serializable)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true}, again...); err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(buf.Bytes(), frame) {
		t.Errorf("lengths or checksums are wrong:\n got % x\nwant % x", frame[:min(len(frame), 80)], buf.Bytes()[:min(len(buf.Bytes()), 80)])
	}
}
