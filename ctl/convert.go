package ctl

import (
	"fmt"
	"os"
	"slices"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// What the switch says, in the words of the API.

func fdbEntry(e dataplane.FDBEntry, history []dataplane.Move) api.FDBEntry {
	out := api.FDBEntry{MAC: e.MAC.String(), VNI: e.VNI, Port: e.Port, State: e.State.String(), Moves: e.Moves}
	if e.Flood {
		out.State = "flood"
	}
	if e.Dst.IsValid() {
		out.Dst, out.DPort = e.Dst.Addr().String(), e.Dst.Port()
	}
	if e.State == fdb.Dynamic && !e.Flood {
		age := seconds(e.Age)
		out.Age = &age
	}
	for _, m := range history {
		out.History = append(out.History, api.Move{From: m.From, To: m.To, Ago: seconds(m.Ago)})
	}
	return out
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func roundUp(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func counters(c dataplane.Counters) api.Counters {
	return api.Counters{
		RxPackets: c.RxPackets, RxBytes: c.RxBytes, TxPackets: c.TxPackets, TxBytes: c.TxBytes, RxDropped: c.RxDropped, TxDropped: c.TxDropped,
	}
}

func vniInfo(m *model.Model, i dataplane.VNIInfo) api.VNI {
	c, h := i.Config, i.Config.Header
	out := api.VNI{
		VNI:              c.VNI,
		Peers:            make([]string, 0, len(c.Peers)),
		VLANs:            vlansOf(m, c.VNI),
		Ageing:           roundUp(c.Ageing),
		MACs:             i.MACs,
		MaxMACs:          c.MaxMACs,
		Learning:         c.Learning,
		PeerPolicy:       c.Policy.String(),
		Allow:            texts(c.Allow),
		TTL:              api.Value(model.HeaderByte{Inherit: h.InheritTTL, N: h.TTL}.String()),
		DSCP:             api.Value(model.HeaderByte{Inherit: h.InheritDSCP, N: h.DSCP}.String()),
		ECN:              model.ECNWord(h.ECN),
		UDPChecksum:      h.UDPChecksum.String(),
		UDP6ZeroChecksum: model.ZeroChecksum{Rx: m.Global.Settings.UDP6Zero.V.Rx, Tx: h.UDP6ZeroChecksumTx}.String(),
		Flood:            model.FloodKindWords(dataplane.FloodAll &^ c.NoFlood),
		StormControl:     c.StormControl.String(),
		ReservedBits:     word(h.StrictReserved, "strict", "ignore"),
		InnerVLAN:        word(h.KeepInnerVLAN, "keep", "drop"),
		MSSClamp:         api.Value(c.MSSClamp.String()),
		SpoofGuard:       c.SpoofGuard,
		GPE:              h.GPE,
		GBP:              h.GBP,
		GBPDrop:          model.GBPWords(nil),
	}
	if h.GBP { // a list of the top level's is of no effect otherwise
		out.GBPDrop = model.GBPWords(c.GBPDrop)
	}
	out.FastPath, out.FastPathReason = i.FastPath, i.FastPathReason
	if c.Group.IsValid() {
		text := m.PeerText(c.Group)
		out.Group, out.GroupInterface = &text, i.GroupInterface
		out.GroupTTL = api.Value(model.HeaderByte{N: c.GroupTTL}.String())
		if c.GroupTTL == 0 {
			out.GroupTTL = out.TTL
		}
	}
	for _, p := range c.Peers {
		out.Peers = append(out.Peers, m.PeerText(p))
	}
	return out
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func texts[T fmt.Stringer](of []T) []string {
	var list []string
	for _, p := range of {
		list = append(list, p.String())
	}
	return list
}

func portInfo(m *model.Model, i dataplane.PortInfo) api.Port {
	out := api.Port{
		Port:          i.Config.Name,
		Type:          string(i.Config.Type),
		State:         string(i.State),
		MTU:           i.MTU,
		MAC:           i.MAC.String(),
		Ifindex:       i.Ifindex,
		NetNS:         i.NetNS,
		Addresses:     texts(i.Config.Addresses),
		MACs:          i.MACs,
		MaxMACs:       i.Config.MaxMACs,
		Isolated:      i.Config.Isolated,
		GBPID:         i.Config.GBPID,
		GBPDrop:       model.GBPWords(i.Config.GBPDrop),
		Queues:        i.Queues,
		Offload:       append([]string{}, i.Offload...),
		OffloadReason: i.OffloadReason,
		Reason:        i.Reason,
		Warning:       i.Warning,
		KernelDrops:   i.KernelDrops,

		FastPath:       i.FastPath,
		FastPathReason: i.FastPathReason,
	}
	if i.Config.MSSClamp != dataplane.MSSDefault {
		out.MSSClamp = api.Value(i.Config.MSSClamp.String())
	}
	if i.Config.StormControl != nil {
		out.StormControl = i.Config.StormControl.String()
	}
	switch {
	case i.Peer != "":
		out.Ifname = i.Peer
	case i.Config.Type == dataplane.PortVeth:
		out.Ifname = i.Config.IfName
	case i.Ifname != i.Config.Name:
		out.Ifname = i.Ifname
	}
	if i.Config.Type == dataplane.PortVeth && i.Ifname != i.Config.Name {
		out.HostIfname = i.Ifname
	}
	if p := m.Ports.At(i.Config.Name); p != nil {
		out.VNI, out.Access, out.Trunk, out.Native = p.VNI, p.Access, p.Trunk, p.Native
	}
	return out
}

func peerInfo(i dataplane.PeerInfo) api.Peer {
	return api.Peer{Peer: i.Addr.Addr().String(), DPort: i.Addr.Port(), VNIs: append([]uint32{}, i.VNIs...), MACs: i.MACs, PMTU: i.PMTU, RouteMTU: i.RouteMTU, Inside: i.Inside, NoRoute: i.NoRoute,
		FastPath: i.FastPath, FastPathReason: i.FastPathReason}
}

// dropLines are the drop ledger, with the senders that were refused under the first line that is about them.
func dropLines(m *model.Model, drops []dataplane.Drop, strangers []dataplane.Stranger) []api.Drop {
	lines := make([]api.Drop, 0, len(drops))
	for _, d := range drops {
		lines = append(lines, dropLine(m, d))
	}
	for _, s := range strangers {
		i := slices.IndexFunc(drops, func(d dataplane.Drop) bool { return d.Reason == s.Reason && (d.VNI == s.VNI || d.VNI == 0) })
		if i >= 0 {
			lines[i].Senders = append(lines[i].Senders, api.Sender{Source: s.Source.String(), VNI: s.VNI, Count: s.Count, Age: int64(s.Age.Seconds())})
		}
	}
	return lines
}

func dropLine(m *model.Model, d dataplane.Drop) api.Drop {
	out := api.Drop{Reason: d.Reason.String(), Count: d.Count, Port: d.Port, VNI: d.VNI}
	if d.Peer.IsValid() {
		out.Peer = m.PeerText(d.Peer)
	}
	return out
}

func fastPath(f dataplane.FastPathInfo) api.FastPath {
	out := api.FastPath{
		Mode: f.Mode.String(), Active: f.Active, Reason: f.Reason, Pins: f.Pins, PinsReason: f.PinReason, NoFlowCache: f.NoFlowCache, Encap: f.Encap, Decap: f.Decap, Local: f.Local, Punted: f.Punted,
		Heard: f.Heard, Outdated: f.Outdated,
		Attachments: make([]api.Attachment, 0, len(f.Attachments)),
	}
	for _, a := range f.Attachments {
		out.Attachments = append(out.Attachments, api.Attachment(a))
	}
	return out
}

// status is the switch as a whole; what the process knows about itself is added.
func (c *Controller) status() api.Status {
	s, m := c.sw.Status(), c.Model()
	out := api.Status{
		Version:           Version,
		PID:               os.Getpid(),
		Uptime:            seconds(time.Since(c.started)),
		Local:             s.Local.String(),
		Locals:            make([]string, 0, len(s.Locals)),
		VRF:               s.VRF,
		DstPort:           s.DstPort,
		Listen:            s.Listen,
		SourcePorts:       fmt.Sprintf("%d-%d", s.SourcePorts[0], s.SourcePorts[1]),
		Workers:           s.Workers,
		FastPath:          fastPath(s.FastPath),
		CPULatency:        api.CPULatency{Held: s.CPULatency.Held, BoundUS: float64(s.CPULatency.Bound) / float64(time.Microsecond), Polls: s.CPULatency.Polls, Reason: s.CPULatency.Reason},
		Offload:           make([]api.Capability, 0, len(s.Offload)),
		LocalsAway:        texts(s.Away),
		LocalsDown:        texts(s.Down),
		UnderlayInterface: s.UnderlayInterface,
		UnderlayMTU:       s.UnderlayMTU,
		ReceiveBuffer:     s.ReceiveBuffer,
		KernelDrops:       s.KernelDrops,
		PortKernelDrops:   s.PortKernelDrops,
		Ports:             s.Ports,
		VNIs:              s.VNIs,
		Peers:             s.Peers,
		FDB: api.FDBTotals{
			Dynamic: s.FDB.Dynamic,
			Static:  s.FDB.Static,
			Max:     m.Global.Settings.MaxMACs.Or(dataplane.DefaultMaxMACs),
			Learned: s.FDB.Learned,
			Moved:   s.FDB.Moved,
			Expired: s.FDB.Expired,
			Evicted: s.FDB.Evicted,
			Refused: s.FDB.Refused,
		},
		Frames:         api.Frames{Received: s.Totals.Received, Forwarded: s.Totals.Forwarded, Dropped: s.Totals.Dropped},
		TooBigAnswered: s.TooBigAnswered,
		TooBigSilenced: s.TooBigSilenced,
		MSSClamped:     s.MSSClamped,
	}
	for _, st := range s.Storms {
		storm := api.Storm{Port: st.Port, VNI: st.VNI, Kind: st.Kind.String(), Rate: st.Rate.String(), Dropped: st.Dropped, Age: seconds(st.Age)}
		if st.Port == "" {
			storm.Peer, storm.DPort = st.Peer.Addr().String(), st.Peer.Port()
		}
		out.Storms = append(out.Storms, storm)
	}
	for _, a := range s.Locals {
		out.Locals = append(out.Locals, a.String())
	}
	for _, o := range s.Offload {
		if !m.Global.Offload && !o.On && o.Reason == "" {
			o.Reason = "offload is off in the configuration"
		}
		out.Offload = append(out.Offload, api.Capability{Name: o.Name, On: o.On, Reason: o.Reason})
	}
	return out
}

func event(e dataplane.Event) api.Event {
	out := api.Event{Time: e.Time, Object: e.Object, Action: e.Action, VNI: e.VNI, Port: e.Port, From: e.From, Reason: e.Reason}
	if e.Action == "lost" || e.Action == "flush" || e.Action == "error" || e.Action == "calm" {
		out.Count = e.Count
	}
	if f := e.FDB; f != nil {
		flat := fdbEntry(*f, nil)
		out.VNI, out.Dst, out.DPort, out.Port = flat.VNI, flat.Dst, flat.DPort, flat.Port
		// A flush names no MAC and no state: it is about a place.
		if !f.MAC.IsZero() {
			out.MAC, out.State = flat.MAC, flat.State
		}
	}
	if e.Local.IsValid() {
		out.Local = e.Local.String()
	}
	if e.Peer.IsValid() {
		out.Peer, out.DPort = e.Peer.Addr().String(), e.Peer.Port()
	}
	return out
}
