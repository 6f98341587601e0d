package encap_test

import (
	"testing"

	"vtepd/encap"
)

func TestAdvise(t *testing.T) {
	head := make([]byte, 100)
	head[34+12] = 8 << 4 // TCP data offset: 32 bytes
	for _, tt := range []struct {
		name  string
		off   encap.Offload
		head  []byte
		total int
		want  uint16
	}{
		{"short", encap.Offload{HdrLen: 9999}, head, 3072, 0},
		{"long", encap.Offload{}, head, 3073, 128},
		{"TCP", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 16}, head, 9000, 34 + 32},
		{"TCP header out of sight", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 16}, head[:46], 9000, 34 + 18},
		{"UDP", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 34, CsumOffset: 6, HdrLen: 9999}, head, 9000, 34 + 8},
		{"no front", encap.Offload{Flags: encap.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535}, nil, 0, 65535},
	} {
		if tt.off.Advise(tt.head, tt.total); tt.off.HdrLen != tt.want {
			t.Errorf("%s: HdrLen %d, want %d", tt.name, tt.off.HdrLen, tt.want)
		}
	}
}
