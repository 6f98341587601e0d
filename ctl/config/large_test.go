package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// tooLong is far above the second or less that a reading takes: with the race detector, beside other tests on two busy CPUs, 20 s were not always enough.
const tooLong = 3 * time.Minute

// A mistake in a large file is told as soon as one in a small file: the parser's own words for it, with the place printed, took minutes.
func TestMistakeInLargeFile(t *testing.T) {
	var statics strings.Builder
	statics.WriteString("local: 192.0.2.1\nvnis: [{vni: 1, peers: [192.0.2.2]}]\nstatic:\n")
	for i := range 15000 {
		fmt.Fprintf(&statics, "- {mac: \"02:00:00:00:%02x:%02x\", vni: 1, dst: 192.0.2.2}\n", i>>8, i&0xff)
	}
	for _, c := range []struct{ name, text, want string }{
		{"a bracket too many", statics.String() + "- ]\n", "f:15004:3: syntax: could not find '[' character corresponding to ']'"},
		{"not YAML", strings.Repeat("@", MaxSize/8), "f:1:1: syntax: '@' is a reserved character"},
		{"elements without value", "vnis:\n" + strings.Repeat("-\n", MaxSize/2-3), "f:1003:1: more than 1000 elements and keys without value up to here: write the values, or remove them"},
		{"braces", "vnis: [" + strings.Repeat("{a},", MaxSize/4-3) + "]", "f:1:4010: more than 1000 elements and keys without value up to here: write the values, or remove them"},
		{"documents", strings.Repeat("---\na\n", MaxSize/6), "f:129:1: too many documents: a configuration is one document, so remove every --- and merge them"},
		{"colons", strings.Repeat(": ", MaxSize/8), "f:1:19: mappings nested too deep: no key takes more than a list of mappings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				_, err := Parse("f", []byte(c.text))
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || err.Error() != c.want {
					t.Errorf("got %v, want %s", err, c.want)
				}
			case <-time.After(tooLong):
				t.Errorf("not read in %v", tooLong)
			}
		})
	}
}
