package ctl

import (
	"fmt"
	"net/http"

	"vtepd/ctl/api"
	"vtepd/ctl/config"
	"vtepd/ctl/model"
)

// maxFileName bounds what a client calls a file, in bytes: PATH_MAX of <linux/limits.h>. It is logged, and stands in front of every error.
const maxFileName = 4096

// Apply makes the running state equal to file, which must be valid and which the Controller keeps; with dry it changes nothing. It returns what differs, or
// differed. Whatever was changed at run time goes where file does not have it, unlike with Reload, which from then on goes by the difference to
// file. On an error, which may be a model.Error with a path into the file, nothing has changed.
func (c *Controller) Apply(file *model.Model, dry bool) ([]model.Difference, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fixed(&c.model.Global, &file.Global); err != nil {
		return nil, err
	}
	differences := file.Diff(c.model)
	if dry {
		return differences, nil
	}
	if err := c.moveTo(file, file.Since(c.model), nil); err != nil {
		return nil, err
	}
	c.file = file
	c.warnOfInterface(&file.Global)
	return differences, nil
}

// withLocal fills in the underlay address of a file that names an interface instead: the running one.
func withLocal(file *config.File, now *model.Global) error {
	g := &file.Model.Global
	if g.Interface == "" {
		return nil
	}
	if g.Interface != now.Interface && !hasAddress(g.Interface, now.Local) {
		return file.Locate(model.Invalid("interface", "interface %s is not where this vtepd took its address from: write local: %s, or restart vtepd with the file", g.Interface, now.LocalsText()))
	}
	g.Local = now.Local
	return file.Check()
}

// postApply makes the running state equal to a file.
func (s *server) postApply(w http.ResponseWriter, r *http.Request) error {
	var spec api.ApplySpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	if spec.Text == "" {
		return malformed("text", "text is missing: it is the contents of a configuration file")
	}
	name := spec.File
	if len(name) > maxFileName {
		return bad("file", fmt.Errorf("a name of %d bytes: a path has at most %d", len(name), maxFileName))
	}
	if name == "" {
		name = "text"
	}
	file, err := config.Parse(name, []byte(spec.Text))
	if err == nil {
		now := s.c.Model().Global
		err = withLocal(file, &now)
	}
	if err != nil {
		return &failure{http.StatusUnprocessableEntity, "text", err}
	}
	differences, err := s.c.Apply(file.Model, spec.DryRun)
	if err != nil {
		return &failure{statusOf(err), "text", file.Locate(err)}
	}
	out := api.Applied{Differences: make([]api.Difference, 0, len(differences))}
	for _, d := range differences {
		out.Differences = append(out.Differences, differenceOf(d))
	}
	if !spec.DryRun {
		s.c.log.Info("applied", "file", name, "differences", len(differences))
	}
	return reply(w, http.StatusOK, out)
}

func differenceOf(d model.Difference) api.Difference {
	out := api.Difference{Action: string(d.Action), Object: d.Object, Name: d.Name}
	for _, v := range d.Values {
		out.Values = append(out.Values, api.ValueDifference(v))
	}
	return out
}
