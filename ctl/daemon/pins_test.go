package daemon

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPinDir(t *testing.T) {
	seen := map[string]string{}
	for _, socket := range []string{"/run/vtepd/vtepd.sock", "/run/vtepd-vtepd.sock", "/run/vtepd/vtepd-sock", "/run/vtepd/vtepd/sock", "/" + strings.Repeat("a", 106), "/" + strings.Repeat("a", 105) + "b", "/ü"} {
		dir := pinDir(socket)
		if other, twice := seen[dir]; twice {
			t.Errorf("%s and %s share %s", socket, other, dir)
		}
		seen[dir] = socket
		name := filepath.Base(dir)
		if filepath.Dir(dir) != pinRoot || len(name) > 255 || strings.ContainsAny(name, "./") || dir != pinDir(socket) {
			t.Errorf("%s: %s is no name for a bpffs", socket, dir)
		}
	}
}
