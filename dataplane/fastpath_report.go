package dataplane

import (
	"fmt"
	"time"

	"vtepd/dataplane/xdp"
)

// FastPathInfo is the fast path as a whole.
type FastPathInfo struct {
	// Mode is what was asked for.
	Mode FastPathMode
	// Active: programs are loaded and follow the switch. Reason says why not.
	Active bool
	Reason string
	// Pins is the directory in which the programs are pinned; empty when they go with the process, and then PinReason may say why.
	Pins, PinReason string
	// NoFlowCache says why the programs ask all maps about each frame; empty when they need not.
	NoFlowCache string
	// Attachments are the interfaces that programs are attached to.
	Attachments []FastPathAttachment
	// Encap, Decap and Local are the frames carried to peers, from peers and between ports, in segments, since the switch was made.
	Encap, Decap, Local uint64
	// Punted counts the frames left to user space since the fast path is active, by reason; the words are those of docs/fast-path.md.
	Punted map[string]uint64
	// Heard counts the frames of new sources that were carried, and learned from what the programs told of them. Outdated are those that were told of
	// too late: their port, peer or VNI had gone or changed.
	Heard, Outdated uint64
}

// FastPathAttachment is an interface that a program is attached to.
type FastPathAttachment struct {
	Interface string
	Ifindex   int
	// Port names the port that it is of; empty for an interface of the underlay.
	Port string
	// Kind is how: "tcx", "tcx+gro", "xdp+tcx".
	Kind string
	// Reason says why it is not the better kind, or why nothing is attached and Kind is empty.
	Reason string
}

// SetFastPath changes the mode at run time. Nothing of known traffic is lost: user space knows everything that the programs know. With FastPathOn an error
// says what the host lacks, and nothing has changed.
func (s *Switch) SetFastPath(mode FastPathMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := s.fast.set(mode)
	for _, r := range s.ports {
		s.boundSuperframes(r)
	}
	return err
}

// report is the fast path as it is now.
func (f *fastPath) report() FastPathInfo {
	var info FastPathInfo
	f.do(func() {
		info = FastPathInfo{Mode: f.mode, Active: f.mirror != nil, Reason: f.reason}
		if m := f.mirror; m != nil {
			f.keepPins()
			if info.PinReason = f.noPins; f.noPins == "" {
				info.Pins = f.pins
			}
			info.NoFlowCache = xdp.Probe().FlowCache.Reason
			info.Punted = m.e.Totals().Punted
			f.roundToTell()
			m.collectTotals()
			m.report(&info)
		}
	})
	info.Heard, info.Outdated = f.heard.learned.Load(), f.heard.outdated.Load()
	info.Encap, info.Decap, info.Local = f.sums[sumEncap].Load(), f.sums[sumDecap].Load(), f.sums[sumLocal].Load()
	return info
}

// tellEntries bounds what forwarding entries took in the last round, for one to be made for somebody who only asks. While many MACs come and go he gets what
// the last one has seen.
const tellEntries = 100 * time.Millisecond

// roundToTell makes a round, so that what was just asked for is done and told of.
func (f *fastPath) roundToTell() {
	if f.mirror.entriesTook <= tellEntries {
		f.round()
	}
}

// onFastPath says for each index of a port or a peer, and each VNI, why it is not on the fast path, and what of it is not.
type onFastPath struct {
	active  bool
	reason  string // of all, when not active
	ports   map[uint32]string
	peers   map[uint32]string
	domains map[uint32][2]string // reason and note
}

// places says what is on the fast path.
func (f *fastPath) places() onFastPath {
	out := onFastPath{ports: make(map[uint32]string), peers: make(map[uint32]string), domains: make(map[uint32][2]string)}
	f.do(func() {
		out.active, out.reason = f.mirror != nil, f.reason
		if f.mirror == nil {
			return
		}
		f.roundToTell()
		for i, mp := range f.mirror.ports {
			if mp != nil {
				out.ports[uint32(i)] = mp.reason
			}
		}
		for i, mp := range f.mirror.peers {
			if mp != nil {
				out.peers[uint32(i)] = mp.reason
			}
		}
		for vni, md := range f.mirror.domains {
			out.domains[vni] = [2]string{md.reason, md.note}
		}
	})
	return out
}

// port says whether a port is on the fast path, and why not, or which of its VNIs are not. One none of whose VNIs is there has nothing to carry.
func (o *onFastPath) port(p *port) (on bool, reason string) {
	if on, reason = o.place(o.ports, p.index); !on {
		return false, reason
	}
	all := vnisOf(p)
	off, least := 0, uint32(0)
	for vni := range all {
		if on, _ := o.vni(vni); !on {
			if off++; off == 1 || vni < least {
				least = vni
			}
		}
	}
	if off == 0 {
		return true, ""
	}
	_, why := o.vni(least)
	first := fmt.Sprintf("VNI %d: %s", least, why)
	switch {
	case off < len(all):
		return true, fmt.Sprintf("but %d of its %d VNIs, as %s", off, len(all), first)
	case off > 1:
		return false, fmt.Sprintf("none of its %d VNIs, as %s", off, first)
	}
	return false, first
}

// peer says whether the fast path sends to a peer, and why not.
func (o *onFastPath) peer(index uint32) (on bool, reason string) { return o.place(o.peers, index) }

func (o *onFastPath) place(reasons map[uint32]string, index uint32) (on bool, reason string) {
	if !o.active {
		return false, o.reason
	}
	reason, known := reasons[index]
	if !known {
		return false, "not looked at yet"
	}
	return reason == "", reason
}

// vni says whether a VNI is on the fast path, and why not all of it.
func (o *onFastPath) vni(vni uint32) (on bool, reason string) {
	if !o.active {
		return false, o.reason
	}
	d, known := o.domains[vni]
	switch {
	case !known:
		return false, "not looked at yet"
	case d[0] != "":
		return false, d[0]
	}
	return true, d[1]
}
