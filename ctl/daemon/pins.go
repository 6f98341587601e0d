package daemon

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"
)

// pinRoot is where the programs of every vtepd of the host are pinned.
const pinRoot = "/sys/fs/bpf/vtepd"

// pinNameLen bounds the readable part of a pin directory's name, in bytes: a file name has at most 255.
const pinNameLen = 100

// pinDir is the pin directory of the vtepd at a control socket: the same one after it was killed and started again, and nobody else's, as the socket
// is. Names on a bpffs have no dots (bpf_lookup, kernel/bpf/inode.c), so the path's characters are replaced, and a hash tells apart what that makes equal.
func pinDir(socket string) string {
	h := fnv.New32a()
	h.Write([]byte(socket))
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.Trim(socket, "/"))
	return filepath.Join(pinRoot, fmt.Sprintf("%.*s-%08x", pinNameLen, name, h.Sum32()))
}
