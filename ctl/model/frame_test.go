package model

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"vtepd/dataplane"
)

func TestParseFrame(t *testing.T) {
	want := []byte{0xff, 0x02, 0xab}
	for _, s := range []string{"ff02ab", "FF02AB", "ff 02 ab", "ff:02:ab", "ff-02-ab\n", "ff02\r\n\tab", "\t0x0000:  ff02\n\t0x0010:  ab", "0x0000: ff02ab\n"} {
		if got, err := ParseFrame(s); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: % x, %v", s, got, err)
		}
	}
	for s, word := range map[string]string{
		"":              "empty",
		" :-":           "empty",
		"f":             "1 hexadecimal digits",
		"ffx2":          `'x'`,
		"ff 0x0000: ff": `'x'`,
		"0x0000:":       "empty",
		strings.Repeat("00", dataplane.MaxTraced+1):     "more than 65543 bytes",
		strings.Repeat("00", dataplane.MaxTraced) + "0": "more than 65543 bytes",
	} {
		if got, err := ParseFrame(s); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.20q: % x, %v; want an error with %q", s, got, err, word)
		}
	}
	if got, err := ParseFrame(strings.Repeat("00", dataplane.MaxTraced)); err != nil || len(got) != dataplane.MaxTraced {
		t.Errorf("the longest: %d bytes, %v", len(got), err)
	}
}

// A TOS is written in two ways, and octal is none of them.
func TestParseTOS(t *testing.T) {
	for s, want := range map[string]uint8{"0": 0, "184": 184, "255": 255, "0x0": 0, "0xb8": 184, "0XFF": 255, "0x0b": 11} {
		if got, err := ParseTOS(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "256", "-1", "0x", "0x100", "017", "0o17", "0b11", "1_0", "0x1_0", "b8", "AF41"} {
		if got, err := ParseTOS(s); err == nil {
			t.Errorf("%q is taken for %d", s, got)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, s := range []string{"ff02ab", "ff 02:ab-", "f", "0x00", "0x0000: ff\n0x0010: 02", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseFrame(s)
		if (err == nil) != (b != nil) {
			t.Fatalf("%q: % x, %v", s, b, err)
		}
		if again, err := ParseFrame(hex.EncodeToString(b)); b != nil && (err != nil || !bytes.Equal(again, b)) {
			t.Fatalf("%q: % x, and again % x, %v", s, b, again, err)
		}
	})
}
