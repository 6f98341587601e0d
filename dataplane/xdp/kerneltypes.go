package xdp

import (
	"sync"
	"time"

	"github.com/cilium/ebpf/btf"
)

// typesKept is how long the kernel's types are kept when they were asked for: reading them takes 20 ms, as long as loading the programs does, and holding
// them megabytes that nobody needs once those are loaded.
const typesKept = 10 * time.Second

var types struct {
	mu     sync.Mutex
	cache  *btf.Cache
	forget *time.Timer
}

// kernelTypes is what the kernel tells of its own structures (/sys/kernel/btf/vmlinux), read when it is needed.
func kernelTypes() *btf.Cache {
	types.mu.Lock()
	defer types.mu.Unlock()
	if types.cache == nil {
		types.cache = btf.NewCache()
	} else {
		types.forget.Stop()
	}
	types.forget = time.AfterFunc(typesKept, func() {
		types.mu.Lock()
		defer types.mu.Unlock()
		types.cache = nil
	})
	return types.cache
}
