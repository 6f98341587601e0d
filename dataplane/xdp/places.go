package xdp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Flags of programsDomain, DOMAIN_* in maps.h.
const (
	domainToUser = 1 << iota
	domainLearning
	domainStrict
	domainZero4Tx
	domainZero6Tx
	domainZero6Rx
	domainInheritTTL
	domainInheritDSCP
	domainECNLinux
	domainClampMSS
	domainSpoofGuard
	domainNewSources
	domainGuardMore
	domainClampByPath
)

// PutPort makes or changes a port.
func (f *FastPath) PutPort(p Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	what := fmt.Sprintf("port %d", p.Index)
	if int(p.Index) >= f.options.MaxPorts || p.Ifindex <= 0 || p.Kind > Netdev || p.MaxFrame < 0 {
		return fmt.Errorf("%s: ifindex %d, kind %d, frame %d: %w", what, p.Ifindex, p.Kind, p.MaxFrame, ErrInvalid)
	}
	p.Tagged = slices.Clone(p.Tagged)
	old, had := f.ports[p.Index]
	v := programsPort{
		Index: p.Index, Ifindex: uint32(p.Ifindex), Kind: uint32(p.Kind), MaxFrame: uint32(p.MaxFrame),
		Untagged: p.Untagged, NativeVid: p.NativeVID, PeerMac: p.PeerMAC, Trunk: flag8(len(p.Tagged) > 0), ToUser: flag8(p.ToUser), Isolated: flag8(p.Isolated), Filtered: flag8(p.Filtered),
		Serial: p.Serial,
	}
	return mapError(what, f.change(func() error {
		f.ports[p.Index] = p
		// What the port no longer carries goes before what it carries anew: in between its frames go to user space.
		var errs []error
		if had {
			if old.Ifindex != p.Ifindex {
				errs = append(errs, forget(f.objects.Devices, uint32(old.Ifindex)))
			}
			errs = append(errs, f.forgetVIDs(old, p.Tagged))
		}
		for _, t := range p.Tagged {
			errs = append(errs,
				f.objects.VidToVni.Put(programsVidKey{Port: p.Index, Number: uint32(t.VID)}, t.VNI),
				f.objects.VniToVid.Put(programsVidKey{Port: p.Index, Number: t.VNI}, uint32(t.VID)))
		}
		errs = append(errs, f.objects.Ports.Put(p.Index, v), f.objects.Devices.Put(uint32(p.Ifindex), v))
		return errors.Join(errs...)
	}))
}

// forgetVIDs removes the tags of a port that are not among those to keep.
func (f *FastPath) forgetVIDs(p Port, keep []VIDMap) error {
	var errs []error
	for _, t := range p.Tagged {
		if !slices.Contains(keep, t) {
			errs = append(errs,
				forget(f.objects.VidToVni, programsVidKey{Port: p.Index, Number: uint32(t.VID)}),
				forget(f.objects.VniToVid, programsVidKey{Port: p.Index, Number: t.VNI}))
		}
	}
	return errors.Join(errs...)
}

// DelPort removes a port; its counters stay until ForgetPort. One that is not there is no error.
func (f *FastPath) DelPort(index uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return mapError(fmt.Sprintf("port %d", index), f.change(func() error { return f.delPort(index) }))
}

func (f *FastPath) delPort(index uint32) error {
	p, ok := f.ports[index]
	if !ok {
		return nil
	}
	delete(f.ports, index)
	return errors.Join(forget(f.objects.Devices, uint32(p.Ifindex)), forget(f.objects.Ports, index), f.forgetVIDs(p, nil))
}

// ForgetPort removes a port and zeroes its counters, before its index is used for another.
func (f *FastPath) ForgetPort(index uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	what := fmt.Sprintf("port %d", index)
	if int(index) >= f.options.MaxPorts {
		return fmt.Errorf("%s: %w", what, ErrInvalid)
	}
	return mapError(what, f.change(func() error {
		return errors.Join(f.delPort(index), zero(f.objects.PortCounters, index))
	}))
}

// PutDomain makes or changes a VNI. A new one starts with zero counters.
func (f *FastPath) PutDomain(d Domain) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	what := fmt.Sprintf("vni %d", d.VNI)
	if d.VNI == 0 || d.VNI >= 1<<24 {
		return fmt.Errorf("%s: %w", what, ErrInvalid)
	}
	delete(f.gone, d.VNI)
	slot, had := f.domains[d.VNI]
	if !had {
		switch n := len(f.free); {
		case n > 0:
			slot = f.free[n-1]
			f.free = f.free[:n-1]
		case len(f.domains) < f.options.MaxDomains:
			slot = uint32(len(f.domains))
		default:
			return fmt.Errorf("%s: %w", what, ErrFull)
		}
		f.domains[d.VNI] = slot
		if err := zero(f.objects.VniCounters, slot); err != nil {
			return mapError(what, err)
		}
	}
	v := programsDomain{Slot: slot, Ttl: cmp.Or(d.TTL, 64), Tos: d.TOS &^ 3, Mss4: d.MSS4, Mss6: d.MSS6}
	for _, b := range []struct {
		on  bool
		bit uint32
	}{
		{d.ToUser, domainToUser}, {d.Learning, domainLearning}, {d.Strict, domainStrict},
		{d.ZeroChecksumTx, domainZero4Tx}, {d.ZeroChecksum6Tx, domainZero6Tx}, {d.ZeroChecksum6Rx, domainZero6Rx},
		{d.InheritTTL, domainInheritTTL}, {d.InheritDSCP, domainInheritDSCP}, {d.ECNLinux, domainECNLinux},
		{d.ClampMSS, domainClampMSS}, {d.SpoofGuard, domainSpoofGuard}, {d.NewSources, domainNewSources},
		{d.GuardMore, domainGuardMore}, {d.ClampByPath, domainClampByPath},
	} {
		if b.on {
			v.Flags |= b.bit
		}
	}
	return mapError(what, f.change(func() error { return f.objects.Domains.Put(d.VNI, v) }))
}

// DelDomain removes a VNI; what was counted for it can be read until ForgetDomain. One that is not there is no error.
func (f *FastPath) DelDomain(vni uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return f.delDomain(vni)
}

func (f *FastPath) delDomain(vni uint32) error {
	if _, ok := f.domains[vni]; !ok || f.gone[vni] {
		return nil
	}
	err := f.change(func() error { return forget(f.objects.Domains, vni) })
	f.gone[vni] = err == nil
	return mapError(fmt.Sprintf("vni %d", vni), err)
}

// ForgetDomain removes a VNI and gives its counters to the next that comes.
func (f *FastPath) ForgetDomain(vni uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if err := f.delDomain(vni); err != nil {
		return err
	}
	if slot, ok := f.domains[vni]; ok {
		delete(f.domains, vni)
		delete(f.gone, vni)
		f.free = append(f.free, slot)
	}
	return nil
}

// PutPeer makes or changes a peer.
func (f *FastPath) PutPeer(p Peer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	what := fmt.Sprintf("peer %d", p.Index)
	a, hop := p.Addr.Addr().Unmap(), p.NextHop.Unmap()
	source, ok := f.sources[a.Is6()]
	if int(p.Index) >= f.options.MaxPeers || p.Ifindex <= 0 || p.MaxFrame < 0 || !a.IsValid() || !hop.IsValid() || p.Addr.Port() == 0 || hop.Is4() && a.Is6() {
		return fmt.Errorf("%s: %s by %s on ifindex %d, frame %d: %w", what, p.Addr, p.NextHop, p.Ifindex, p.MaxFrame, ErrInvalid)
	}
	if !ok {
		return fmt.Errorf("%s: %s: no local address of its family: %w", what, p.Addr, ErrInvalid)
	}
	v := programsPeer{
		NextHop: words(hop), NextHopFamily: unix.AF_INET6, Ifindex: uint32(p.Ifindex), MaxFrame: uint32(p.MaxFrame),
		UdpPort: wire16(p.Addr.Port()), Ipv6: flag8(a.Is6()), Divided: flag8(p.Divided),
	}
	v.Source.Word, v.Address.Word = words(source), words(a)
	if hop.Is4() {
		v.NextHop, v.NextHopFamily = [4]uint32{v.NextHop[3]}, unix.AF_INET
	}
	return mapError(what, f.change(func() error { return f.objects.Peers.Put(p.Index, v) }))
}

// DelPeer removes a peer: what goes there goes to user space. Its counters stay until ForgetPeer. One that is not there is no error.
func (f *FastPath) DelPeer(index uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	return mapError(fmt.Sprintf("peer %d", index), f.change(func() error { return forget(f.objects.Peers, index) }))
}

// ForgetPeer removes a peer and zeroes its counters, before its index is used for another.
func (f *FastPath) ForgetPeer(index uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	what := fmt.Sprintf("peer %d", index)
	if int(index) >= f.options.MaxPeers {
		return fmt.Errorf("%s: %w", what, ErrInvalid)
	}
	return mapError(what, f.change(func() error {
		return errors.Join(forget(f.objects.Peers, index), zero(f.objects.PeerCounters, index))
	}))
}

func flag8(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}
