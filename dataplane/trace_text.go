package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"vtepd/encap"
	"vtepd/fdb"
)

// What a trace says in words.

func (t *tracer) lengthText() string { return counted(len(t.f.bytes()), "byte") }

func macText(mac uint64) string {
	switch {
	case mac == 0:
		return "the all-zero address is no station's"
	case encap.MulticastMAC(mac):
		return fmt.Sprintf("%s is a group address", fdb.MAC(mac))
	}
	return fmt.Sprintf("%s is a station's", fdb.MAC(mac))
}

func linkLocalText(f *frame) string {
	if dst := encap.Ethernet(f.bytes()).Dst(); dst&^0xf == linkLocal {
		return fmt.Sprintf("%s is for the neighbour on the wire alone", fdb.MAC(dst))
	}
	return "not for the neighbour on the wire alone"
}

// peerText tells apart peers of one address, which listen on several UDP ports.
func (t *tracer) peerText(a netip.AddrPort) string {
	if a.Port() == t.s.config.DstPort {
		return "peer " + a.Addr().String()
	}
	return "peer " + a.String()
}

// tagText describes the outermost tag of a frame.
func tagText(f *frame) string {
	b := f.bytes()
	t := encap.Ethernet(b).EtherType()
	if !isTag(t) {
		return "untagged"
	}
	if len(b) < encap.EthernetLen+encap.VLANTagLen {
		return "a tag that is cut off"
	}
	tci := binary.BigEndian.Uint16(b[encap.EthernetLen:])
	text := fmt.Sprintf("VID %d", tci&vidMask)
	if t == encap.EtherTypeQinQ {
		text += " of 802.1ad"
	}
	if pcp := tci >> 13; pcp != 0 {
		text += fmt.Sprintf(", priority %d", pcp)
	}
	return text
}

// classText says what the port takes the frame for.
func (t *tracer) classText(r Reason) string {
	switch r {
	case VLANNotAllowed:
		return ": means no VNI on this port"
	case InnerVLANTag:
		return ": behind it is another tag, and the VNI keeps none"
	case UnknownVNI:
		return ": its VNI is not declared"
	case ShortFrame:
		return ""
	}
	return fmt.Sprintf(": VNI %d", t.f.domain.vni)
}

func spoofText(r Reason) string {
	if r == VXLANSpoof {
		return "itself VXLAN, to a VTEP"
	}
	return "no VXLAN to a VTEP"
}

var ecnWords = [4]string{"not ECN-capable", "ECT(1)", "ECT(0)", "CE"}

func ecnText(f *frame, tos uint8) string {
	text := "outer " + ecnWords[tos&ecnMask]
	if inner, ok := encap.TrafficClass(f.bytes(), f.parse()); ok {
		text += ", inner then " + ecnWords[inner&ecnMask]
	}
	return text
}

func floodText(dst uint64) string {
	if dst == broadcastMAC {
		return "broadcast"
	}
	return fmt.Sprintf("%s is a group", fdb.MAC(dst))
}

func portText(r Reason) string {
	switch r {
	case PortGone:
		return "its interface is missing"
	case PortDown:
		return "its interface is down"
	case VLANNotAllowed:
		return "its tag would be taken for one of the port's VLANs"
	case GBPDenied:
		return "the port does not get its group"
	case TooBig:
		return "larger than the port's MTU"
	}
	return ""
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
