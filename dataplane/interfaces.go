package dataplane

import (
	"cmp"

	"vtepd/dataplane/device"
	"vtepd/dataplane/netdev"
)

// Interface is a name in a network namespace, which one interface at a time can have.
type Interface struct {
	// NetNS is equal for all names of one namespace: "" is that of the calling thread.
	NetNS string
	Name  string
}

// Interfaces are those that a port made of c has, its own first. It asks the host which names of namespaces mean the same.
func (c *PortConfig) Interfaces() []Interface {
	there := device.NetNSKey(c.NetNS)
	if c.Type == PortVeth {
		return []Interface{{"", c.Name}, {there, cmp.Or(c.IfName, netdev.DefaultIfName)}}
	}
	return []Interface{{there, c.Name}}
}

// going lists the interfaces in a namespace ("": our own) that go with ports, by index. That of a netdev port stays. Needs mu, and a thread at home.
func (s *Switch) going(ports []string, netns string) (indices []int) {
	in := device.NetNSKey(netns)
	for _, name := range ports {
		r := s.ports[name]
		if r == nil || r.published.link == nil || r.published.config.Type == PortNetdev {
			continue
		}
		a, err := r.published.link.dev.Attr()
		if err != nil {
			continue // nothing of it is left that could stand in the way
		}
		own, other := a.Ifindex, a.PeerIndex
		if r.published.config.Type == PortTAP {
			own, other = 0, a.Ifindex
		}
		if own != 0 && in == "" {
			indices = append(indices, own)
		}
		if other != 0 && in == a.NetNSKey {
			indices = append(indices, other)
		}
	}
	return indices
}
