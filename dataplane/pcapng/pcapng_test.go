package pcapng

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// sample is a capture of every kind of block: two interfaces, packets of 0 to 64 bytes in both directions, some cut.
func sample() []byte {
	b := AppendSection(nil, "vtepd")
	b = AppendInterface(b, Interface{Name: "tap0", Description: "port, tap", SnapLen: 262144})
	b = AppendInterface(b, Interface{Name: "2001:db8::2", Description: "peer", SnapLen: 262144})
	for i := range 65 {
		b = AppendPacket(b, samplePacket(i))
	}
	b = AppendStatistics(b, Statistics{Interface: 0, Time: 7, Received: 33, Dropped: 2})
	return AppendStatistics(b, Statistics{Interface: 1, Time: 1<<33 + 5, Received: 1 << 40, Dropped: 1<<33 + 1})
}

func samplePacket(i int) Packet {
	p := Packet{Interface: uint32(i % 2), Time: 1_700_000_000_123_456_789 + int64(i), Length: uint32(i), Data: bytes.Repeat([]byte{byte(i)}, i), Outbound: i%3 == 0,
		Comment: strings.Repeat("c", i%5)}
	if i%4 == 0 {
		p.Length += 1000
	}
	return p
}

// TestReadBack: an independent reader finds what was written.
func TestReadBack(t *testing.T) {
	var told []pcapgo.NgInterfaceStatistics
	r, err := pcapgo.NewNgReader(bytes.NewReader(sample()), pcapgo.NgReaderOptions{
		StatisticsCallback: func(i int, s pcapgo.NgInterfaceStatistics) {
			if i != len(told) {
				t.Errorf("statistics of interface %d", i)
			}
			told = append(told, s)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.SectionInfo().Application != "vtepd" || r.LinkType() != layers.LinkTypeEthernet {
		t.Errorf("section %+v, link type %v", r.SectionInfo(), r.LinkType())
	}
	for i := range 65 {
		want := samplePacket(i)
		data, ci, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if !bytes.Equal(data, want.Data) || ci.Length != int(want.Length) || ci.InterfaceIndex != int(want.Interface) || !ci.Timestamp.Equal(time.Unix(0, want.Time)) {
			t.Errorf("packet %d: %+v, %d bytes", i, ci, len(data))
		}
	}
	if _, _, err := r.ReadPacketData(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for i, want := range []Interface{{"tap0", "port, tap", 262144}, {"2001:db8::2", "peer", 262144}} {
		got, err := r.Interface(i)
		if err != nil || got.Name != want.Name || got.Description != want.Description || got.SnapLength != want.SnapLen || got.TimestampResolution != 9 {
			t.Errorf("interface %d: %+v, %v", i, got, err)
		}
	}
	if len(told) != 2 || told[0].PacketsReceived != 33 || told[0].PacketsDropped != 2 || told[1].PacketsReceived != 1<<40 || told[1].PacketsDropped != 1<<33+1 {
		t.Errorf("statistics: %+v", told)
	}
}

// TestTcpdump: libpcap finds what was written.
func TestTcpdump(t *testing.T) {
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("no tcpdump")
	}
	cmd := exec.Command(path, "-n", "-e", "-r", "-")
	cmd.Stdin = bytes.NewReader(sample())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	if lines := strings.Count(string(out), "\n"); lines < 65 {
		t.Errorf("%d lines for 65 packets:\n%s", lines, out)
	}
}

// TestLongTexts: a text that no option holds is cut, and nothing behind it is lost.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("x", 1<<17)
	b := AppendInterface(AppendSection(nil, long), Interface{Name: long, Description: long})
	b = AppendPacket(b, Packet{Data: []byte("abc"), Comment: long})
	r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if data, ci, err := r.ReadPacketData(); err != nil || string(data) != "abc" || ci.Length != 3 {
		t.Errorf("%q, %+v, %v", data, ci, err)
	}
}

// TestScanner: blocks come out as they went in, and a capture that ends early ends between two blocks.
func TestScanner(t *testing.T) {
	all := sample()
	for cut := range len(all) + 1 {
		s := NewScanner(bytes.NewReader(all[:cut]))
		var got []byte
		var err error
		for {
			var b Block
			if b, err = s.Next(); err != nil {
				break
			}
			got = append(got, b...)
		}
		if !bytes.HasPrefix(all[:cut], got) {
			t.Fatalf("cut at %d: %d bytes that were not there", cut, len(got))
		}
		want := io.ErrUnexpectedEOF
		if len(got) == cut {
			want = io.EOF
		}
		if err != want {
			t.Fatalf("cut at %d, blocks of %d bytes: %v", cut, len(got), err)
		}
	}
}

func TestScannerStatistics(t *testing.T) {
	s := NewScanner(bytes.NewReader(sample()))
	var got []Statistics
	packets := 0
	for {
		b, err := s.Next()
		if err != nil {
			break
		}
		if b.Type() == TypePacket {
			packets++
		}
		if st, ok := b.Statistics(); ok {
			got = append(got, st)
		}
	}
	if diff := cmp.Diff([]Statistics{{Received: 33, Dropped: 2}, {Interface: 1, Received: 1 << 40, Dropped: 1<<33 + 1}}, got); diff != "" || packets != 65 {
		t.Errorf("%d packets, statistics (-want +got):\n%s", packets, diff)
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, text := range []string{"{\"error\":\"no\"}", strings.Repeat("\x00", 12), "\x0a\x0d\x0d\x0a\xff\xff\xff\xff", "\x06\x00\x00\x00\x0d\x00\x00\x00", "\x06\x00\x00\x00\x0c\x00\x00\x00\x0b\x00\x00\x00"} {
		if _, err := NewScanner(strings.NewReader(text)).Next(); !errors.Is(err, ErrNoBlock) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestAppendDoesNotAllocate: with room in the slice, as in the middle of a capture.
func TestAppendDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 1<<16)
	p := samplePacket(63)
	if n := testing.AllocsPerRun(100, func() { b = AppendPacket(b[:0], p) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// FuzzReadBack: whatever a packet, its comment and the names are, an independent reader finds them again, and so does the scanner.
func FuzzReadBack(f *testing.F) {
	f.Add("tap0", "port", "vni 42, dropped: too_big", []byte("abcdefghijklmnop"), uint32(20), int64(1_700_000_000_123_456_789), true)
	f.Add("", "", "", []byte{}, uint32(0), int64(0), false)
	f.Add("2001:db8::2", "peer", "x", []byte{1}, uint32(1<<32-1), int64(1<<62), true)
	f.Fuzz(func(t *testing.T, name, description, comment string, data []byte, length uint32, when int64, out bool) {
		if when < 0 || len(data) > 1<<16 || len(name)+len(description)+len(comment) > 1<<16 {
			return
		}
		b := AppendInterface(AppendSection(nil, name), Interface{Name: name, Description: description})
		b = AppendPacket(b, Packet{Time: when, Length: length, Data: data, Outbound: out, Comment: comment})
		b = AppendStatistics(b, Statistics{Time: when, Received: uint64(length), Dropped: uint64(when)})
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, ci, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data) || ci.Length != max(int(length), len(data)) || ci.Timestamp.UnixNano() != when {
			t.Errorf("got %d bytes, %+v", len(got), ci)
		}
		if i, err := r.Interface(0); err != nil || i.Name != name[:min(len(name), maxText)] {
			t.Errorf("interface %+v, %v", i, err)
		}
		s, blocks, total := NewScanner(bytes.NewReader(b)), 0, 0
		for {
			block, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if st, ok := block.Statistics(); ok && (st.Received != uint64(length) || st.Dropped != uint64(when)) {
				t.Errorf("statistics %+v", st)
			}
			blocks, total = blocks+1, total+len(block)
		}
		if blocks != 4 || total != len(b) {
			t.Errorf("%d blocks, %d of %d bytes", blocks, total, len(b))
		}
	})
}

// FuzzScanner: nothing that is read makes the scanner fail otherwise than by an error.
func FuzzScanner(f *testing.F) {
	f.Add(sample())
	f.Add(AppendStatistics(nil, Statistics{Received: 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for s := NewScanner(bytes.NewReader(data)); ; {
			b, err := s.Next()
			if err != nil {
				return
			}
			b.Statistics()
		}
	})
}
