package netdev

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vtepd/encap"
)

// control makes one ancillary entry as the kernel does.
func control(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.SizeofCmsghdr, 64)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.SizeofCmsghdr + len(data))
	b = append(b, data...)
	for len(b)%cmsgWord != 0 {
		b = append(b, 0)
	}
	return b
}

func auxdataBytes(status uint32, tci, tpid uint16) []byte {
	b := make([]byte, auxdataLen)
	binary.NativeEndian.PutUint32(b, status)
	binary.NativeEndian.PutUint16(b[16:], tci)
	binary.NativeEndian.PutUint16(b[18:], tpid)
	return b
}

func TestParseAuxdata(t *testing.T) {
	const valid, known, partial = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID, unix.TP_STATUS_CSUMNOTREADY
	aux := func(status uint32, tci, tpid uint16) []byte {
		return control(unix.SOL_PACKET, unix.PACKET_AUXDATA, auxdataBytes(status, tci, tpid))
	}
	other := control(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, make([]byte, 16))
	for _, c := range []struct {
		name string
		in   []byte
		want auxdata
	}{
		{"nothing", nil, auxdata{}},
		{"no tag", aux(0, 5, 0x8100), auxdata{}},
		{"tag", aux(valid|known, 0x600a, 0x88a8), auxdata{tagged: true, tci: 0x600a, tpid: 0x88a8}},
		{"tag of VID 0", aux(valid|known, 0, 0x8100), auxdata{tagged: true, tpid: 0x8100}},
		{"no TPID told", aux(valid, 10, 0), auxdata{tagged: true, tci: 10, tpid: 0x8100}},
		{"unfinished", aux(partial, 0, 0), auxdata{unfinished: true}},
		{"behind another", append(bytes.Clone(other), aux(valid|known, 7, 0x8100)...), auxdata{tagged: true, tci: 7, tpid: 0x8100}},
		{"another alone", other, auxdata{}},
		{"cut", aux(valid, 10, 0)[:unix.SizeofCmsghdr+auxdataLen-1], auxdata{}},
		{"too short", control(unix.SOL_PACKET, unix.PACKET_AUXDATA, make([]byte, 12)), auxdata{}},
	} {
		if got := parseAuxdata(c.in); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Whatever stands in the ancillary data and in the slot, a frame comes out that lies in its slot, with room in front, and its bytes are those that
// the kernel wrote, with at most a tag between addresses and type.
func FuzzTake(f *testing.F) {
	frame, off := tcp(false, 100, 1400)
	h := header(off)
	f.Add(append(h[:], frame...), control(unix.SOL_PACKET, unix.PACKET_AUXDATA, auxdataBytes(unix.TP_STATUS_VLAN_VALID, 10, 0)), true, false)
	f.Add(append(h[:], frame...), []byte{}, true, true)
	f.Add(frame, control(unix.SOL_PACKET, unix.PACKET_AUXDATA, auxdataBytes(unix.TP_STATUS_CSUMNOTREADY, 0, 0)), false, false)
	f.Add([]byte{1, 2, 3}, control(unix.SOL_PACKET, unix.PACKET_AUXDATA, make([]byte, 3)), true, false)
	r, err := NewReceiver()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(r.Close)
	take := func(t *testing.T, data, aux []byte, vnet, truncated, big bool) {
		d := &Device{}
		d.mtu.Store(1500)
		q := newQueue(-1, vnet, false, &d.mtu)
		q.big.Store(big && vnet && r.makeRoom())
		at, vnetLen := frameAt, 0
		if vnet {
			at, vnetLen = frameAt-encap.OffloadLen, encap.OffloadLen
		}
		data = data[:min(len(data), slotSize-at)]
		aux = aux[:min(len(aux), controlSize)]
		slot := r.slot(0, q)
		copy(slot[at:], data)
		r.control[0] = [controlSize]byte{}
		copy(r.control[0][:], aux)
		m := &r.headers[0]
		m.n = uint32(len(data))
		m.hdr.SetControllen(len(aux))
		m.hdr.Flags = 0
		if truncated {
			m.hdr.Flags = unix.MSG_TRUNC
		}
		var got Frame
		r.take(&got, 0, q)
		if got.Start < Headroom || got.Start > len(got.Buf) || len(got.Buf) > len(slot) || got.Oversize != truncated {
			t.Fatalf("start %d, %d bytes, oversize %v", got.Start, len(got.Buf), got.Oversize)
		}
		want := data[min(vnetLen, len(data)):]
		b := got.Buf[got.Start:]
		switch len(b) - len(want) {
		case 0:
			if !bytes.Equal(b, want) {
				t.Fatal("the frame has changed")
			}
		case encap.VLANTagLen:
			if !bytes.Equal(b[:12], want[:12]) || !bytes.Equal(b[16:], want[12:]) {
				t.Fatal("the frame has changed beside its tag")
			}
		default:
			t.Fatalf("%d bytes of %d", len(b), len(want))
		}
		// What comes of it must not upset who uses it.
		var l encap.Layout
		l.Parse(b)
		var cutter encap.Cutter
		if got.Off.IsGSO() {
			_ = cutter.Init(b, &l, got.Off)
		} else {
			_ = encap.FinishChecksum(b, got.Off)
		}
	}
	f.Fuzz(func(t *testing.T, data, aux []byte, vnet, truncated bool) {
		take(t, data, aux, vnet, truncated, false)
		take(t, data, aux, vnet, truncated, true)
	})
}
