package ctl

import (
	"net/http"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

func (s *server) getSettings(w http.ResponseWriter, r *http.Request) error {
	if q := newQuery(r); q.err != nil {
		return q.err
	}
	return reply(w, http.StatusOK, api.Settings{FastPath: string(s.c.Model().Global.FastPath)})
}

// setSettings changes what concerns the whole switch and may change while it runs.
func (s *server) setSettings(w http.ResponseWriter, r *http.Request) error {
	var spec api.Settings
	if err := body(w, r, &spec); err != nil {
		return err
	}
	mode, err := needed("fastpath", spec.FastPath, model.ParseFastPath)
	if err != nil {
		return err
	}
	err = s.edit.Change(func(m *model.Model) error {
		m.Global.FastPath = mode
		return nil
	})
	if err != nil {
		return err
	}
	return noContent(w)
}
