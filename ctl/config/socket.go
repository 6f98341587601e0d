package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vtepd/ctl/model"
)

// ParseSocket reads the path of the control socket.
func ParseSocket(s string) (string, error) {
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("%q is not an absolute path, such as %s", shorten(s), model.DefaultSocket)
	}
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q has a zero byte in it, where the kernel takes a path to end", shorten(s))
	}
	// sun_path has 108 bytes with its terminating zero (linux/un.h).
	if len(s) > 107 {
		return "", fmt.Errorf("%q has %d bytes: the path of a unix socket has at most 107", shorten(s), len(s))
	}
	clean := filepath.Clean(s)
	if last := s[strings.LastIndexByte(s, '/')+1:]; last == "" || last == "." || last == ".." {
		return "", namesDirectory(s, clean)
	}
	return clean, nil
}

// CheckSocket refuses the path of a control socket that is a directory of this host. That of the service is one: /run/vtepd.
func CheckSocket(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return model.Invalid("socket", "socket: %v", namesDirectory(path, path))
	}
	return nil
}

// namesDirectory is about a path that names one, with its clean form.
func namesDirectory(path, clean string) error {
	example := filepath.Join(clean, filepath.Base(model.DefaultSocket))
	if clean == "/" {
		example = model.DefaultSocket
	}
	return fmt.Errorf("%q names a directory: write the path of the socket itself, such as %s", shorten(path), shorten(example))
}
