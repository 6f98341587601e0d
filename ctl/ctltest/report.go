package ctltest

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"vtepd/dataplane"
	"vtepd/fdb"
)

// VNIs lists the VNIs.
func (s *Switch) VNIs() []dataplane.VNIInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []dataplane.VNIInfo
	for _, n := range slices.Sorted(maps.Keys(s.vnis)) {
		macs := 0
		for k := range s.entries {
			if k.vni == n {
				macs++
			}
		}
		info := dataplane.VNIInfo{Config: s.vnis[n], MACs: macs}
		if info.Config.Group.IsValid() {
			info.GroupInterface = "eth0"
		}
		info.FastPath, info.FastPathReason = s.fastPath("")
		list = append(list, info)
	}
	return list
}

// Ports lists the ports, all of them up but for netdevs: they say all that can be said of one, that the interface is missing and that it serves badly.
func (s *Switch) Ports() []dataplane.PortInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []dataplane.PortInfo
	for i, n := range slices.Sorted(maps.Keys(s.ports)) {
		c := s.ports[n]
		info := dataplane.PortInfo{
			Config: c, State: dataplane.PortUp, Ifname: n, Ifindex: 10 + i, MTU: cmp.Or(c.MTU, 1450), MAC: c.MAC, NetNS: c.NetNS, Queues: 2,
			Offload: []string{"vnet-hdr", "tso4", "tso6"}, OffloadReason: "uso: the kernel is older than 6.2",
		}
		except := ""
		if c.NetNS != "" {
			except = "its TAP lives in namespace " + c.NetNS + ", where the programs cannot reach it: use type veth"
		}
		info.FastPath, info.FastPathReason = s.fastPath(except)
		if c.Type == dataplane.PortNetdev {
			info = dataplane.PortInfo{Config: c, State: dataplane.PortMissing, Reason: "no such interface", Warning: "it was put into the bridge \"br0\"", KernelDrops: 3, FastPathReason: "its interface is missing"}
		} else if info.MAC == nil {
			info.MAC = net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}
		}
		for _, e := range s.entries {
			if e.Port == n && e.State == fdb.Dynamic {
				info.MACs++
			}
		}
		list = append(list, info)
	}
	return list
}

// Peers lists the peers of the flood lists.
func (s *Switch) Peers() []dataplane.PeerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	vnis := map[netip.AddrPort][]uint32{}
	for _, n := range slices.Sorted(maps.Keys(s.vnis)) {
		for _, p := range s.vnis[n].Peers {
			vnis[p] = append(vnis[p], n)
		}
	}
	for _, e := range s.entries {
		if e.Dst.IsValid() {
			vnis[e.Dst] = append([]uint32(nil), vnis[e.Dst]...)
		}
	}
	var list []dataplane.PeerInfo
	for _, p := range slices.SortedFunc(maps.Keys(vnis), netip.AddrPort.Compare) {
		except := ""
		info := dataplane.PeerInfo{Addr: p, VNIs: vnis[p], PMTU: 1500, RouteMTU: 1500, Inside: 1450}
		if len(list) == 1 {
			info.PMTU, info.Inside = 1400, 1350
			except = "tun0, which leads to it, carries no Ethernet"
		}
		info.FastPath, info.FastPathReason = s.fastPath(except)
		for _, e := range s.entries {
			if e.Dst == p && e.State == fdb.Dynamic {
				info.MACs++
			}
		}
		list = append(list, info)
	}
	return list
}

// count makes counters of a number, all different.
func count(n uint64) dataplane.Counters {
	return dataplane.Counters{RxPackets: n, RxBytes: 100 * n, TxPackets: n + 1, TxBytes: 100*n + 100, RxDropped: n + 2, TxDropped: n + 3}
}

// PortStats invents counters.
func (s *Switch) PortStats() []dataplane.PortStats {
	var list []dataplane.PortStats
	for i, p := range s.Ports() {
		list = append(list, dataplane.PortStats{Port: p.Config.Name, Counters: count(uint64(10 + i))})
	}
	return list
}

// PeerStats invents counters.
func (s *Switch) PeerStats() []dataplane.PeerStats {
	var list []dataplane.PeerStats
	for i, p := range s.Peers() {
		list = append(list, dataplane.PeerStats{Peer: p.Addr, Counters: count(uint64(20 + i))})
	}
	return list
}

// VNIStats invents counters.
func (s *Switch) VNIStats() []dataplane.VNIStats {
	var list []dataplane.VNIStats
	for i, v := range s.VNIs() {
		list = append(list, dataplane.VNIStats{VNI: v.Config.VNI, Counters: count(uint64(30 + i))})
	}
	return list
}

// Drops lists what Drop was given.
func (s *Switch) Drops() []dataplane.Drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.drops)
}

// Strangers lists what Refuse was given.
func (s *Switch) Strangers() []dataplane.Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unknown)
}

// Status invents a status.
func (s *Switch) Status() dataplane.Status {
	ports, vnis, peers := len(s.Ports()), len(s.VNIs()), len(s.Peers())
	s.mu.Lock()
	defer s.mu.Unlock()
	st := dataplane.Status{
		Local: s.Config.Local, Locals: s.Config.Locals(), DstPort: s.Config.DstPort, Listen: s.Config.Ports(), SourcePorts: [2]uint16{49152, 65535}, Workers: 2, UnderlayInterface: "eth0", UnderlayMTU: 1500,
		Offload: []dataplane.Capability{
			{Name: "udp-gso", On: true}, {Name: "udp-gro", On: true},
			{Name: "tap-uso", Reason: "port tap0: the kernel is older than 6.2"},
		},
		ReceiveBuffer: 8 << 20, KernelDrops: 5, Totals: dataplane.Totals{Received: 100, Forwarded: 97, Dropped: 3},
		FDB:   fdb.Stats{Learned: 7, Moved: 1, Expired: 2, Evicted: 3, Refused: 4},
		Ports: ports, VNIs: vnis, Peers: peers,
		TooBigAnswered: 2, TooBigSilenced: 1, MSSClamped: 4,
		Storms: []dataplane.StormInfo{
			{Port: "tap0", VNI: 42, Kind: dataplane.FloodBroadcast, Rate: dataplane.Rate{N: 100}, Dropped: 4711, Age: 90 * time.Second},
			{Peer: netip.MustParseAddrPort("192.0.2.3:4790"), VNI: 42, Kind: dataplane.FloodUnknown, Rate: dataplane.Rate{N: 20_000_000, Bits: true}, Dropped: 1},
		},
		CPULatency: dataplane.CPULatencyInfo{Held: true, Bound: 2 * time.Microsecond},
	}
	st.FastPath.Mode = s.Config.FastPath
	if st.FastPath.Active, st.FastPath.Reason = s.fastPath(""); st.FastPath.Active {
		st.FastPath = dataplane.FastPathInfo{
			Mode: s.Config.FastPath, Active: true, Pins: "/sys/fs/bpf/vtepd/run-vtepd-vtepd.sock", NoFlowCache: "real-time kernel (#1 SMP PREEMPT_RT)", Encap: 60, Decap: 20, Local: 3, Punted: map[string]uint64{"unknown_source": 4, "not_ip": 9}, Heard: 5, Outdated: 1,
			Attachments: []dataplane.FastPathAttachment{
				{Interface: "eth0", Ifindex: 2, Kind: "tcx", Reason: "xdp: eth0 (veth) carries superframes whole, which XDP would end"},
				{Interface: "tap0", Ifindex: 10, Port: "tap0", Kind: "tcx"},
			},
		}
	}
	for _, e := range s.entries {
		if e.State == fdb.Dynamic {
			st.FDB.Dynamic++
		} else {
			st.FDB.Static++
		}
	}
	return st
}
