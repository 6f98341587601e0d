package ctl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

// putEntry makes a forwarding entry. Static and sticky ones become part of the desired state, dynamic ones belong to the table alone.
func (c *Controller) putEntry(e dataplane.FDBEntry, mode fdb.PutMode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.MAC.IsZero() {
		return c.change(putFlood(e, mode), nil)
	}
	if err := entryNames(c.model, e); err != nil {
		return err
	}
	k := model.StaticKey{VNI: e.VNI, MAC: e.MAC}
	if mode == fdb.Add {
		if old, err := c.sw.FDBPeek(e.VNI, e.MAC); err == nil {
			return entryExists(c.model, k, old)
		}
	}
	entry := model.Static{Dst: e.Dst, Port: e.Port, State: e.State}
	if e.State == fdb.Dynamic {
		// The rules for a place are those of a static entry.
		next := c.model.Clone()
		next.Statics.Put(k, model.Static{Dst: e.Dst, Port: e.Port, State: fdb.Static})
		if _, err := c.settle(next); err != nil {
			return err
		}
		rule, _ := next.Statics.Get(k)
		e.Dst = rule.Dst
		if err := c.sw.FDBPut(e, mode); err != nil {
			return putError(k, err)
		}
		if c.model.Statics.Has(k) {
			next.Statics.Delete(k)
			c.model = next
		}
		return nil
	}
	return putError(k, c.change(func(m *model.Model) error {
		m.Statics.Put(k, entry)
		return nil
	}, map[model.StaticKey]bool{k: mode == fdb.Add}))
}

// putFlood is the edit for an entry with the all-zero MAC.
func putFlood(e dataplane.FDBEntry, mode fdb.PutMode) func(m *model.Model) error {
	return func(m *model.Model) error {
		switch {
		case mode == fdb.Replace:
			return model.Invalid("fdb/0/mac", "the flood list is not replaced by one entry: use fdb append for one more, or vni set N peer IP... for the whole list")
		case e.Port != "":
			return model.Invalid("fdb/0/port", "the flood list holds peers: write dst IP")
		}
		return addPeer(m, e.VNI, e.Dst)
	}
}

// delFlood is the edit that deletes an entry with the all-zero MAC.
func delFlood(vni uint32, dst netip.AddrPort) func(m *model.Model) error {
	return func(m *model.Model) error {
		if !dst.IsValid() {
			return model.Invalid("fdb/0/dst", "the all-zero MAC stands for every peer of VNI %d: say which one with dst IP", vni)
		}
		return delPeer(m, vni, dst)
	}
}

// entryNames refuses an entry that names what does not exist.
func entryNames(m *model.Model, e dataplane.FDBEntry) error {
	if err := needVNI(m, e.VNI); err != nil {
		return err
	}
	if e.Port != "" && !m.Ports.Has(e.Port) {
		return noPort(m, e.Port)
	}
	return nil
}

func entryExists(m *model.Model, k model.StaticKey, old dataplane.FDBEntry) error {
	return model.Exists("fdb/0/mac", "%s is in VNI %d already, %s at %s: use fdb replace", k.MAC, k.VNI, old.State, where(m, old))
}

func entryElsewhere(m *model.Model, k model.StaticKey, e dataplane.FDBEntry, dst netip.AddrPort) error {
	return model.NotFound("fdb/0/dst", "%s in VNI %d is at %s, not at %s", k.MAC, k.VNI, where(m, e), peerFilterText(dst))
}

// putError says how to mend that there is no room for an entry.
func putError(k model.StaticKey, err error) error {
	if errors.Is(err, fdb.ErrFull) && !errors.Is(err, ErrNotUndone) {
		return &model.Error{Path: "fdb/0/mac", Msg: fmt.Sprintf("no room for %s in VNI %d: flush entries, or raise max-macs", k.MAC, k.VNI), Kind: dataplane.ErrLimit}
	}
	return err
}

func where(m *model.Model, e dataplane.FDBEntry) string {
	if e.Port != "" {
		return e.Port
	}
	return m.PeerText(e.Dst)
}

// delEntry removes a forwarding entry, with a valid dst only one that points there.
func (c *Controller) delEntry(vni uint32, mac fdb.MAC, dst netip.AddrPort) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mac.IsZero() {
		return c.change(delFlood(vni, dst), nil)
	}
	if err := needVNI(c.model, vni); err != nil {
		return err
	}
	e, err := c.sw.FDBPeek(vni, mac)
	if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
		return noEntry(vni, mac)
	} else if err != nil {
		return err
	}
	k := model.StaticKey{VNI: vni, MAC: mac}
	if dst.IsValid() && !(e.Dst.IsValid() && matchPeer(e.Dst, dst)) {
		return entryElsewhere(c.model, k, e, dst)
	}
	if c.model.Statics.Has(k) {
		return c.change(func(m *model.Model) error {
			m.Statics.Delete(k)
			return nil
		}, nil)
	}
	if err := c.sw.FDBDel(vni, mac, netip.AddrPort{}); err != nil {
		if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
			return noEntry(vni, mac)
		}
		return err
	}
	return nil
}

func noEntry(vni uint32, mac fdb.MAC) error {
	return model.NotFound("fdb/0/mac", "%s is not in VNI %d: see fdb show vni %d", mac, vni, vni)
}

// getEntry finds one entry with its history.
func (c *Controller) getEntry(vni uint32, mac fdb.MAC) (dataplane.FDBEntry, []dataplane.Move, error) {
	if err := needVNI(c.Model(), vni); err != nil {
		return dataplane.FDBEntry{}, nil, err
	}
	if mac.IsZero() {
		return dataplane.FDBEntry{}, nil, model.Invalid("fdb/0/mac", "the all-zero MAC stands for every peer of VNI %d: see fdb show mac %s vni %d", vni, mac, vni)
	}
	e, err := c.sw.FDBGet(vni, mac)
	if errors.Is(err, dataplane.ErrNotFound) || errors.Is(err, fdb.ErrNotFound) {
		return e, nil, noEntry(vni, mac)
	} else if err != nil {
		return e, nil, err
	}
	return e, c.sw.FDBHistory(vni, mac), nil
}

// checkFilter refuses a filter that names something that does not exist: an empty answer would look like a clean one.
func (c *Controller) checkFilter(f dataplane.FDBFilter) error {
	m := c.Model()
	if f.VNI != 0 {
		if err := needVNI(m, f.VNI); err != nil {
			return err
		}
	}
	if f.Port != "" && !m.Ports.Has(f.Port) {
		return noPort(m, f.Port)
	}
	return nil
}

// dump lists entries. The flood list is shown unless static or dynamic ones are asked for.
func (c *Controller) dump(f dataplane.FDBFilter) ([]dataplane.FDBEntry, error) {
	if err := c.checkFilter(f); err != nil {
		return nil, err
	}
	entries := c.sw.FDBDump(f)
	if f.Static || f.Dynamic {
		entries = slices.DeleteFunc(entries, func(e dataplane.FDBEntry) bool { return e.Flood })
	}
	return entries, nil
}

// flush removes entries: dynamic ones, or static ones when the filter says so. The flood list stays.
func (c *Controller) flush(f dataplane.FDBFilter) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.VNI != 0 {
		if err := needVNI(c.model, f.VNI); err != nil {
			return 0, err
		}
	}
	if f.Port != "" && !c.model.Ports.Has(f.Port) {
		return 0, noPort(c.model, f.Port)
	}
	n, err := c.sw.FDBFlush(f)
	if err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	if !f.Static {
		return n, nil
	}
	next := c.model.Clone()
	deleteStatics(next, func(k model.StaticKey, s model.Static) bool {
		switch {
		case f.VNI != 0 && k.VNI != f.VNI, f.HasMAC && k.MAC != f.MAC, f.Port != "" && s.Port != f.Port:
			return false
		}
		return !f.Dst.IsValid() || s.Dst.IsValid() && matchPeer(s.Dst, f.Dst)
	})
	c.model = next
	return n, nil
}
