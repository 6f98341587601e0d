package xdp

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
)

// Defaults of Options.
const (
	defaultEntries = 1 << 20
	defaultPorts   = 1024
	defaultPeers   = 4096
	defaultDomains = 16384
	defaultSources = 65536
	// defaultLearnEvents a second and CPU: far more than hosts come and go, far less than a flood of forged sources could cost.
	defaultLearnEvents = 2048
	// maxVIDs bounds the (port, VID) pairs of all ports together: sixteen full trunks.
	maxVIDs = 65536
)

// The dynamic ports, RFC 7348 section 5.
const (
	minSourcePort = 49152
	maxSourcePort = 65535
)

func (o *Options) setDefaults() {
	for _, f := range []struct {
		to  *int
		def int
	}{
		{&o.MaxEntries, defaultEntries}, {&o.MaxPorts, defaultPorts}, {&o.MaxPeers, defaultPeers},
		{&o.MaxDomains, defaultDomains}, {&o.MaxSources, defaultSources}, {&o.LearnEvents, defaultLearnEvents},
	} {
		if *f.to <= 0 {
			*f.to = f.def
		}
	}
	o.Name = cmp.Or(o.Name, o.PinDir, crand.Text())
	if o.SourcePorts == [2]uint16{} {
		o.SourcePorts = [2]uint16{minSourcePort, maxSourcePort}
	}
}

// settings is what the programs hold as constants.
func (o *Options) settings(c *Capabilities) (programsSettings, error) {
	s := programsSettings{
		SourceFirst: uint32(o.SourcePorts[0]),
		SourceCount: uint32(o.SourcePorts[1]) - uint32(o.SourcePorts[0]) + 1,
		LearnBudget: uint32(o.LearnEvents),
		Mark:        rand.Uint32() | 1,
		Instance:    o.instance(),
	}
	for _, l := range []struct {
		list  []uint16
		ports []uint16
		n     *uint32
	}{{o.SourcePortList, s.SourcePorts4[:], &s.SourceListed4}, {o.SourcePortList6, s.SourcePorts6[:], &s.SourceListed6}} {
		if len(l.list) > len(l.ports) {
			return s, fmt.Errorf("source ports: %d, more than %d: %w", len(l.list), len(l.ports), ErrInvalid)
		}
		*l.n = uint32(len(l.list))
		for i, p := range l.list {
			l.ports[i] = wire16(p)
		}
	}
	if o.SourcePorts[1] < o.SourcePorts[0] || o.SourcePorts[0] == 0 {
		return s, fmt.Errorf("source ports %d-%d: %w", o.SourcePorts[0], o.SourcePorts[1], ErrInvalid)
	}
	if c.SwitchFamily.On {
		s.SwitchFamily = 1
	}
	if o.Alone {
		s.Alone = 1
	}
	if o.VRF {
		s.Vrf = 1
	}
	if c.FlowCache.On {
		s.FlowCache = 1
	}
	for _, a := range o.Locals {
		switch a = a.Unmap(); {
		case !a.IsValid() || a.Zone() != "":
			return s, fmt.Errorf("local address %s: %w", a, ErrInvalid)
		case a.Is4():
			if int(s.Locals4) == len(s.Local4) {
				return s, fmt.Errorf("local addresses: more than %d of IPv4: %w", len(s.Local4), ErrInvalid)
			}
			s.Local4[s.Locals4] = words(a)[3]
			s.Locals4++
		default:
			if int(s.Locals6) == len(s.Local6) {
				return s, fmt.Errorf("local addresses: more than %d of IPv6: %w", len(s.Local6), ErrInvalid)
			}
			s.Local6[s.Locals6].Word = words(a)
			s.Locals6++
		}
	}
	if len(o.Ports) > len(s.UdpPorts) {
		return s, fmt.Errorf("udp ports: %d, more than %d: %w", len(o.Ports), len(s.UdpPorts), ErrInvalid)
	}
	for i, p := range o.Ports {
		if p == 0 {
			return s, fmt.Errorf("udp port 0: %w", ErrInvalid)
		}
		s.UdpPorts[i] = wire16(p)
	}
	return s, nil
}

// instance is the same for a process and for the next one that takes over from it.
func (o *Options) instance() uint32 {
	if o.PinDir == "" {
		return rand.Uint32()
	}
	return nameSum(filepath.Clean(o.PinDir))
}

func nameSum(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

// words is an address as the programs hold it: 16 bytes in network byte order, IPv4 as ::ffff:a.b.c.d.
func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// address undoes words.
func address(w [4]uint32) netip.Addr {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	return netip.AddrFrom16(b).Unmap()
}

// wire16 is a number whose bytes lie in memory in network byte order. It is its own inverse.
func wire16(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
