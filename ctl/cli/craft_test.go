package cli

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// What words describe is what gopacket reads, and what gopacket would have written: lengths and checksums included.
func TestCraft(t *testing.T) {
	for words, want := range map[string][]gopacket.LayerType{
		"vid 0 dst-port 9 size 500":                        {layers.LayerTypeEthernet, layers.LayerTypeDot1Q, layers.LayerTypeIPv4, layers.LayerTypeUDP, gopacket.LayerTypePayload},
		"dst-ip 198.51.100.9":                              {layers.LayerTypeEthernet, layers.LayerTypeIPv4, layers.LayerTypeUDP, gopacket.LayerTypePayload},
		"src-ip 2001:db8::7 ip-tos 0xb9 ip-ttl 3":          {layers.LayerTypeEthernet, layers.LayerTypeIPv6, layers.LayerTypeUDP},
		"ip-proto tcp src-port 7 dst-port 443 size 1514":   {layers.LayerTypeEthernet, layers.LayerTypeIPv4, layers.LayerTypeTCP, gopacket.LayerTypePayload},
		"ip-proto tcp dst-ip 2001:db8::7 vid 4094 size 79": {layers.LayerTypeEthernet, layers.LayerTypeDot1Q, layers.LayerTypeIPv6, layers.LayerTypeTCP, gopacket.LayerTypePayload},
		"ip-proto icmp":                                    {layers.LayerTypeEthernet, layers.LayerTypeIPv4, layers.LayerTypeICMPv4, gopacket.LayerTypePayload},
		"ip-proto icmp dst-ip 2001:db8::7":                 {layers.LayerTypeEthernet, layers.LayerTypeIPv6, layers.LayerTypeICMPv6, layers.LayerTypeICMPv6Echo},
		"ip-proto arp dst-ip 198.51.100.9":                 {layers.LayerTypeEthernet, layers.LayerTypeARP, gopacket.LayerTypePayload},
	} {
		a, err := traceObject.self.parse("trace", strings.Fields("port tap0 dst-mac 02:00:00:00:00:02 "+words))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := frameOf(a)
		if err != nil {
			t.Fatal(err)
		}
		if size := int(a.number("size")); len(frame) != max(size, minFrame) && len(frame) != 62 {
			t.Errorf("%s: %d bytes", words, len(frame))
		}
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", words, e.Error())
		}
		var got []gopacket.LayerType
		for _, l := range p.Layers() {
			got = append(got, l.LayerType())
			if ip, ok := l.(gopacket.NetworkLayer); ok {
				for _, l := range p.Layers() {
					if sums, ok := l.(interface {
						SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
					}); ok {
						if err := sums.SetNetworkLayerForChecksum(ip); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", words, got, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", words, got, want)
				break
			}
		}
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializePacket(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, p); err != nil {
			t.Errorf("%s: %v", words, err)
		}
		if !bytes.Equal(b.Bytes()[:min(len(b.Bytes()), len(frame))], frame[:min(len(b.Bytes()), len(frame))]) {
			t.Errorf("%s:\n  is % x\nwant % x", words, frame, b.Bytes())
		}
	}
}

// Without a word about a packet there is none.
func TestCraftWithoutPacket(t *testing.T) {
	for words, want := range map[string]string{
		"":                                        "02000000000200005e00530188b5",
		"vid 10 pcp 5 size 100":                   "02000000000200005e0053018100a00a88b5",
		"vid 0 src-mac 02:00:00:00:00:01":         "0200000000020200000000018100000088b5",
		"vid 4094 src-mac 01:00:00:00:00:01":      "0200000000020100000000018100" + "0ffe88b5",
		"src-mac 00:00:00:00:00:00 size 1514":     "02000000000200000000000088b5",
		"src-mac ff:ff:ff:ff:ff:ff vid 1 size 64": "020000000002ffffffffffff8100000188b5",
	} {
		a, err := traceObject.self.parse("trace", strings.Fields("port tap0 dst-mac 02:00:00:00:00:02 "+words))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := frameOf(a)
		n := len(want) / 2
		if err != nil || hex.EncodeToString(frame[:n]) != want || len(frame) != max(minFrame, int(a.number("size"))) || len(bytes.Trim(frame[n:], "\x00")) != 0 {
			t.Errorf("%q: % x, %v, want %s and zeros", words, frame, err, want)
		}
	}
}

// The fields that words name are where they belong.
func TestCraftFields(t *testing.T) {
	a, err := traceObject.self.parse("trace", strings.Fields("port tap0 dst-mac 02:00:00:00:00:02 src-mac 02:00:00:00:00:01 vid 10 pcp 5 src-ip 198.51.100.7 dst-ip 203.0.113.9 ip-proto udp src-port 77 dst-port 88 ip-tos 0xb9 ip-ttl 3 size 100"))
	if err != nil {
		t.Fatal(err)
	}
	frame, err := frameOf(a)
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	tag := p.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q)
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if eth.DstMAC.String() != "02:00:00:00:00:02" || eth.SrcMAC.String() != "02:00:00:00:00:01" || tag.VLANIdentifier != 10 || tag.Priority != 5 ||
		ip.SrcIP.String() != "198.51.100.7" || ip.DstIP.String() != "203.0.113.9" || ip.TOS != 0xb9 || ip.TTL != 3 || udp.SrcPort != 77 || udp.DstPort != 88 || len(frame) != 100 {
		t.Errorf("%v", p)
	}
}
