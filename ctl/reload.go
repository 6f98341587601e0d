package ctl

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// Reload applies the difference between the file as it was last read and file, its present contents, to the running state. What the file does not
// speak of, added or changed at run time, stays. It returns the operations done. On an error, which may be a model.Error with a path into the file,
// nothing has changed, unless it is ErrNotUndone.
func (c *Controller) Reload(file *model.Model) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fixed(&c.file.Global, &file.Global); err != nil {
		return nil, err
	}
	next := merge(c.file, file, c.model)
	next.Normalize()
	if problems := next.Validate(); len(problems) > 0 {
		return nil, fromRuntime(problems[0], file)
	}
	p := planner{sw: c.sw, old: c.model, new: next, changes: next.Since(c.model)}
	ops := p.plan()
	if err := c.run(ops); err != nil {
		return nil, err
	}
	c.model, c.file = next, file
	c.warnOfInterface(&file.Global)
	done := make([]string, len(ops))
	for i, op := range ops {
		c.log.Debug("changed", "op", op.Text)
		done[i] = op.Text
	}
	return done, nil
}

// fromRuntime says of an error in what came of a file and of changes at run time that it is not the file alone which is wrong: its author looks there for a VNI, say, and
// finds it declared.
func fromRuntime(e *model.Error, file *model.Model) *model.Error {
	c := *e
	if name, ok := strings.CutPrefix(e.Path, "ports/"); ok {
		name, _, _ = strings.Cut(name, "/")
		if !file.Ports.Has(name) {
			c.Msg += fmt.Sprintf("; the port was added at run time: port del %s lets the file through", name)
			return &c
		}
	}
	c.Msg += "; by itself the file is right, and what was changed at run time stands in its way: vtepctl apply FILE dry-run shows that, and without dry-run takes it back"
	return &c
}

// fixed refuses a difference in what is decided when vtepd starts.
func (c *Controller) fixed(was, is *model.Global) error {
	for _, k := range []struct {
		key     string
		was, is any
	}{
		{"local", was.LocalsText(), is.LocalsText()},
		{"vrf", orNone(was.VRF), orNone(is.VRF)},
		{"dstport", was.DstPort, is.DstPort},
		{"listen", fmt.Sprint(was.Listen), fmt.Sprint(is.Listen)},
		{"source-ports", sourcePorts(was), sourcePorts(is)},
		{"flow-label", word(was.FlowLabels, "flow", "port"), word(is.FlowLabels, "flow", "port")},
		{"group-interface", orNone(was.GroupInterface), orNone(is.GroupInterface)},
		{"socket", was.Socket, is.Socket},
		{"offload", autoOff(was.Offload), autoOff(is.Offload)},
		{"cpu-latency", was.CPULatency, is.CPULatency},
		{"workers", was.Workers, is.Workers},
		{"max-macs", was.Settings.MaxMACs.Or(dataplane.DefaultMaxMACs), is.Settings.MaxMACs.Or(dataplane.DefaultMaxMACs)},
		{"udp6-zero-checksum", receiving(was), receiving(is)},
	} {
		if k.was != k.is && (k.key != "socket" || !c.SocketByOption) {
			return model.Invalid(k.key, "%s changed from %v to %v, which a running vtepd cannot follow: restart vtepd, or change it back", k.key, k.was, k.is)
		}
	}
	return nil
}

func autoOff(on bool) string {
	if on {
		return "auto"
	}
	return "off"
}

func sourcePorts(g *model.Global) string {
	first, last := g.SourcePorts[0], g.SourcePorts[1]
	if first == 0 {
		first, last = dataplane.FirstSourcePort, dataplane.LastSourcePort
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// receiving is the half of udp6-zero-checksum that is decided for the sockets.
func receiving(g *model.Global) string {
	if g.Settings.UDP6Zero.V.Rx {
		return "receiving"
	}
	return "not receiving"
}

// merge applies the difference from base to target to running, value by value: where base and target agree, running stands.
func merge(base, target, running *model.Model) *model.Model {
	next := running.Clone()
	next.Global.Settings = mergeSettings(base.Global.Settings, target.Global.Settings, running.Global.Settings)
	next.Global.FastPath = model.Pick(base.Global.FastPath, target.Global.FastPath, running.Global.FastPath)
	// The interface is only where local was taken from; the address itself has been held against the running one.
	next.Global.Interface = target.Global.Interface
	mergeTable(target.VLANs.Since(&base.VLANs.Table), &base.VLANs, &target.VLANs, &next.VLANs, model.Pick[uint32])
	mergeTable(target.VNIs.Since(&base.VNIs.Table), &base.VNIs, &target.VNIs, &next.VNIs, mergeVNI)
	mergeTable(target.Ports.Since(&base.Ports), &base.Ports, &target.Ports, &next.Ports, mergePort)
	mergeTable(target.Statics.Since(&base.Statics), &base.Statics, &target.Statics, &next.Statics, func(_, t, _ model.Static) model.Static { return t })
	mergePlaces(target, next)
	return next
}

// mergePlaces takes care of static entries from run time whose port or VNI the file drops: they do not hold it, as they do not hold one that a command deletes. Where the
// file has an entry for the same MAC, that one is in force again.
func mergePlaces(target, next *model.Model) {
	var lost []model.StaticKey
	for k, s := range next.Statics.All() {
		if t, has := target.Statics.Get(k); !(has && t == s) && !hasPlace(next, k, s) {
			lost = append(lost, k)
		}
	}
	for _, k := range lost {
		if t, has := target.Statics.Get(k); has && hasPlace(next, k, t) {
			next.Statics.Put(k, t)
		} else {
			next.Statics.Delete(k)
		}
	}
}

// hasPlace says whether the VNI of a static entry is declared, and its port, if it has one, in the VNI.
func hasPlace(m *model.Model, k model.StaticKey, s model.Static) bool {
	if !m.HasVNI(k.VNI) {
		return false
	}
	p := m.Ports.At(s.Port)
	return s.Port == "" || p != nil && slices.Contains(m.PortVNIs(p), k.VNI)
}

// table is what mergeTable needs of a table.
type table[K, V comparable] interface {
	Get(k K) (V, bool)
	Put(k K, v V)
	Delete(k K)
}

// mergeTable merges what differs from base to target into running. Deleting wins over changes made at run time.
func mergeTable[K, V comparable](differing []K, base, target, running table[K, V], value func(base, target, running V) V) {
	for _, k := range differing {
		b, had := base.Get(k)
		t, stays := target.Get(k)
		r, runs := running.Get(k)
		switch {
		case !stays:
			running.Delete(k)
		case had && reflect.DeepEqual(b, t):
		case !runs:
			running.Put(k, t)
		default:
			running.Put(k, value(b, t, r))
		}
	}
}

func mergeSettings(b, t, r model.Settings) model.Settings {
	for _, set := range model.SettingTable {
		set.Merge(&r, &b, &t)
	}
	return r
}

func mergeVNI(b, t, r *model.VNI) *model.VNI {
	if b == nil {
		b = &model.VNI{}
	}
	return &model.VNI{
		Peers:    model.MergeList(b.Peers, t.Peers, r.Peers),
		Group:    model.Pick(b.Group, t.Group, r.Group),
		Settings: mergeSettings(b.Settings, t.Settings, r.Settings),
	}
}

// mergePort takes where the port belongs as one value: half of one and half of another makes no port.
func mergePort(b, t, r *model.Port) *model.Port {
	if b == nil {
		// Made at run time, and now in the file: the file says all of it.
		return t
	}
	next := *r
	next.Type = model.Pick(b.Type, t.Type, r.Type)
	if b.VNI != t.VNI || b.Access != t.Access || b.Native != t.Native || !slices.Equal(b.Trunk, t.Trunk) {
		next.VNI, next.Access, next.Native, next.Trunk = t.VNI, t.Access, t.Native, t.Trunk
	}
	next.MTU = model.Pick(b.MTU, t.MTU, r.MTU)
	next.NetNS = model.Pick(b.NetNS, t.NetNS, r.NetNS)
	next.IfName = model.Pick(b.IfName, t.IfName, r.IfName)
	next.MAC = model.Pick(b.MAC, t.MAC, r.MAC)
	next.Addresses = model.MergeList(b.Addresses, t.Addresses, r.Addresses)
	next.MaxMACs = model.Pick(b.MaxMACs, t.MaxMACs, r.MaxMACs)
	next.MSSClamp = model.Pick(b.MSSClamp, t.MSSClamp, r.MSSClamp)
	next.StormControl = model.Pick(b.StormControl, t.StormControl, r.StormControl)
	next.Isolated = model.Pick(b.Isolated, t.Isolated, r.Isolated)
	next.GBPID = model.Pick(b.GBPID, t.GBPID, r.GBPID)
	next.GBPDrop = model.Pick(b.GBPDrop, t.GBPDrop, r.GBPDrop)
	return &next
}

// Summary is one line for a list of operations: "2 VNIs added, 1 port changed". What was deleted and added again was made anew.
func Summary(ops []string) string {
	if len(ops) == 0 {
		return "nothing changed"
	}
	counts := map[string]int{}
	ops = slices.Compact(slices.Sorted(slices.Values(ops))) // what changes by steps has changed once
	for _, op := range ops {
		var object, verb, name string
		fmt.Sscan(op, &object, &verb, &name)
		_, added := slices.BinarySearch(ops, "port add "+name)
		if object == "port" && verb == "set" && added {
			continue // it waited for others to leave its VNI
		}
		counts[object+" "+verb]++
		if object == "port" && verb == "del" && added {
			counts["port del"]--
			counts["port add"]--
			counts["port anew"]++
		}
	}
	text := ""
	for _, w := range []struct{ key, one, many, done string }{
		{"vni add", "VNI", "VNIs", "added"}, {"vni set", "VNI", "VNIs", "changed"}, {"vni del", "VNI", "VNIs", "deleted"},
		{"port add", "port", "ports", "added"}, {"port set", "port", "ports", "changed"}, {"port anew", "port", "ports", "made anew"}, {"port del", "port", "ports", "deleted"},
		{"set fastpath", "fast path", "", "set"},
		{"fdb put", "static entry", "static entries", "put"}, {"fdb del", "static entry", "static entries", "deleted"},
	} {
		n := counts[w.key]
		if n == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		noun := w.one
		if n > 1 {
			noun = w.many
		}
		text += fmt.Sprintf("%d %s %s", n, noun, w.done)
	}
	return text
}
