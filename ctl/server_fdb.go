package ctl

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
	"vtepd/dataplane"
	"vtepd/fdb"
)

func (s *server) listFDB(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "vni", "mac", "dst", "dport", "port", "static", "dynamic")
	f := dataplane.FDBFilter{
		VNI:     parsed(q, "vni", model.ParseVNI),
		MAC:     parsed(q, "mac", model.ParseMAC),
		HasMAC:  q.values.Has("mac"),
		Port:    parsed(q, "port", model.ParsePortName),
		Static:  q.flag("static"),
		Dynamic: q.flag("dynamic"),
	}
	dport, dst := parsed(q, "dport", model.ParsePort), q.text("dst")
	if q.err != nil {
		return q.err
	}
	var err error
	if f.Dst, err = endpoint("dst", dst, dport); err != nil {
		return err
	}
	if err := s.mayDump(r.Context()); err != nil {
		return err
	}
	defer func() { <-s.dumps }()
	entries, err := s.c.dump(f)
	if err != nil {
		return err
	}
	return replyList(w, entries, func(e dataplane.FDBEntry) api.FDBEntry { return fdbEntry(e, nil) })
}

// maxDumps bounds the readers of the forwarding table at a time: each holds a copy of what it asked for, 0.3 GB of a million entries, until it has read that.
const maxDumps = 4

// dumpPatience is how long a further one waits for its turn.
const dumpPatience = 10 * time.Second

// mayDump waits for a turn to read the forwarding table, which one element of dumps stands for from then on.
func (s *server) mayDump(ctx context.Context) error {
	select {
	case s.dumps <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(dumpPatience):
		return &failure{http.StatusServiceUnavailable, "", fmt.Errorf("%d others are reading the forwarding table already: try again", maxDumps)}
	}
}

func (s *server) addFDB(w http.ResponseWriter, r *http.Request) error {
	if err := s.putFDB(w, r, fdb.Add); err != nil {
		return err
	}
	return created(w)
}

func (s *server) replaceFDB(w http.ResponseWriter, r *http.Request) error {
	if err := s.putFDB(w, r, fdb.Replace); err != nil {
		return err
	}
	return noContent(w)
}

func (s *server) putFDB(w http.ResponseWriter, r *http.Request, mode fdb.PutMode) error {
	var spec api.FDBSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	e := dataplane.FDBEntry{State: fdb.Static}
	var err error
	if e.MAC, err = needed("mac", spec.MAC, model.ParseMAC); err != nil {
		return err
	}
	if e.VNI, err = needed("vni", number(spec.VNI), model.ParseVNI); err != nil {
		return err
	}
	if e.Port, err = given("port", spec.Port, model.ParsePortName); err != nil {
		return err
	}
	if e.Dst, err = endpoint("dst", spec.Dst, spec.DPort); err != nil {
		return err
	}
	if spec.State != "" {
		if e.State, err = given("state", spec.State, parseState); err != nil {
			return err
		}
	}
	switch has := e.Dst.Addr().IsValid(); {
	case has && e.Port != "":
		return malformed("port", "both dst and port: an entry has one place")
	case !has && e.Port == "":
		return malformed("dst", "neither dst nor port: say where %s is", e.MAC)
	}
	return s.edit.putEntry(e, mode)
}

func number[T ~uint16 | ~uint32](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func pathEntry(r *http.Request) (vni uint32, mac fdb.MAC, err error) {
	if vni, err = needed("vni", r.PathValue("vni"), model.ParseVNI); err != nil {
		return 0, 0, err
	}
	mac, err = needed("mac", r.PathValue("mac"), model.ParseMAC)
	return vni, mac, err
}

func (s *server) getFDB(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	vni, mac, err := pathEntry(r)
	if err != nil {
		return err
	}
	e, history, err := s.c.getEntry(vni, mac)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, fdbEntry(e, history))
}

func (s *server) deleteFDB(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r, "dst", "dport")
	dport, text := parsed(q, "dport", model.ParsePort), q.text("dst")
	if q.err != nil {
		return q.err
	}
	dst, err := endpoint("dst", text, dport)
	if err != nil {
		return err
	}
	vni, mac, err := pathEntry(r)
	if err != nil {
		return err
	}
	if err := s.edit.delEntry(vni, mac, dst); err != nil {
		return err
	}
	return noContent(w)
}

// flushBody is api.FDBFilter with absent told from zero: a zero VNI must not flush every VNI.
type flushBody struct {
	VNI     *uint32 `json:"vni"`
	MAC     *string `json:"mac"`
	Dst     *string `json:"dst"`
	DPort   *uint16 `json:"dport"`
	Port    *string `json:"port"`
	Static  bool    `json:"static"`
	Dynamic bool    `json:"dynamic"`
}

func (s *server) flushFDB(w http.ResponseWriter, r *http.Request) error {
	var b flushBody
	if err := body(w, r, &b); err != nil {
		return err
	}
	f := dataplane.FDBFilter{HasMAC: b.MAC != nil, Static: b.Static, Dynamic: b.Dynamic}
	var err error
	if b.VNI != nil {
		if f.VNI, err = given("vni", fmt.Sprint(*b.VNI), model.ParseVNI); err != nil {
			return err
		}
	}
	if b.MAC != nil {
		if f.MAC, err = needed("mac", *b.MAC, model.ParseMAC); err != nil {
			return err
		}
	}
	if b.Port != nil {
		if f.Port, err = needed("port", *b.Port, model.ParsePortName); err != nil {
			return err
		}
	}
	var dport uint16
	if b.DPort != nil {
		if dport, err = given("dport", fmt.Sprint(*b.DPort), model.ParsePort); err != nil {
			return err
		}
	}
	if b.Dst != nil {
		if _, err = needed("dst", *b.Dst, model.ParsePeer); err != nil {
			return err
		}
		f.Dst, err = endpoint("dst", *b.Dst, dport)
	} else if dport != 0 {
		err = malformed("dport", "dport without dst: give both, or neither")
	}
	if err != nil {
		return err
	}
	n, err := s.c.flush(f)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.Flushed{Flushed: n})
}
