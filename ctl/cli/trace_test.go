package cli

import (
	"testing"

	"vtepd/ctl/api"
)

// A group is no peer.
func TestTraceNamesGroups(t *testing.T) {
	for peer, want := range map[string]string{"192.0.2.2": "to peer", "2001:db8::2": "to peer", "239.1.1.1": "to group", "ff05::100": "to group"} {
		if got, _ := copyText(&api.TraceCopy{Peer: peer, Out: &api.TraceOuter{}}); got != want {
			t.Errorf("%s: %q, want %q", peer, got, want)
		}
	}
}
