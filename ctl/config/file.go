package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// MaxSize bounds a configuration file: 1 MiB is some 20,000 VNIs or ports.
const MaxSize = 1 << 20

// File is a configuration file that has been read.
type File struct {
	// Name is what errors call it.
	Name string
	// Model is what it says, normalised and valid, except that Global.Local is missing where Global.Interface is set.
	Model *model.Model

	places map[string]place
	trunks trunkPlaces
}

// place is a line and a column, both from 1.
type place struct {
	line, column int
}

func (p place) before(q place) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

// Error is a mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1; 0 when the mistake has no place
	Msg          string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Parse reads and checks the contents of a file; name is what errors call it.
func Parse(name string, data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, &Error{File: name, Msg: fmt.Sprintf("more than %d bytes: this is no configuration of one host", MaxSize)}
	}
	// Some editors begin UTF-8 text with a byte order mark, which YAML allows (YAML 1.2.2 section 5.2).
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	d := decoder{file: name, model: model.New(), places: map[string]place{}, trunks: trunkPlaces{}}
	if err := d.document(data); err != nil {
		return nil, err
	}
	d.model.Normalize()
	f := &File{Name: name, Model: d.model, places: d.places, trunks: d.trunks}
	return f, f.Check()
}

// Check validates the model again, for instance after Global.Local has been filled in. Of several mistakes it returns the one that comes first in the
// file.
func (f *File) Check() error {
	var first *Error
	for _, p := range append(f.Model.Validate(), f.idle()...) {
		e := f.locate(p)
		if first == nil || first.Line == 0 && e.Line != 0 || e.Line != 0 && (place{e.Line, e.Column}).before(place{first.Line, first.Column}) {
			first = e
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// keys are those of the fields of a dataplane.Config that the switch may find fault with.
var keys = map[string][]string{
	"VRF": {"vrf"}, "GroupInterface": {"group-interface"}, "Local": {"local", "interface"}, "DstPort": {"dstport"}, "Listen": {"listen"}, "FastPath": {"fastpath"},
}

// option is the key, or the element of its list, that a field of the switch's configuration comes from; "": none.
func (f *File) option(e *dataplane.ConfigError) string {
	for _, key := range keys[e.Field] {
		for _, path := range []string{key + "/" + e.Value, key} {
			if _, ok := f.places[path]; ok {
				return path
			}
		}
	}
	return ""
}

// Locate puts file, line and column before a model.Error, or one about a key of the file, and the file's name alone before any other error.
func (f *File) Locate(err error) error {
	var c *dataplane.ConfigError
	if errors.As(err, &c) {
		if path := f.option(c); path != "" {
			return f.locate(&model.Error{Path: path, Msg: err.Error()})
		}
	}
	var e *model.Error
	if errors.As(err, &e) {
		return f.locate(e)
	}
	return &Error{File: f.Name, Msg: err.Error()}
}

// locate finds the place that a path names, or that of the object it is in. What the file does not have, such as a port added at run time, has no
// place: that of the list it would be in tells nothing.
func (f *File) locate(e *model.Error) *Error {
	for path := e.Path; ; {
		p, ok := f.places[path]
		if !ok {
			p, ok = f.trunks.find(path)
		}
		if ok {
			return &Error{File: f.Name, Line: p.line, Column: p.column, Msg: e.Msg}
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 || !strings.Contains(path[:i], "/") {
			return &Error{File: f.Name, Msg: e.Msg}
		}
		path = path[:i]
	}
}
