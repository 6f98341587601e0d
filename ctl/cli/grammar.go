package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vtepd/ctl/model"
)

// object is the first word of a command.
type object struct {
	name, short, long string
	// verbs, of which show is the default; an object without verbs has one command in self.
	verbs []*verb
	self  *verb
}

// verb is one command: what it takes and what it does.
type verb struct {
	name    string
	aliases []string
	// synopsis is what follows the verb in the usage line.
	synopsis string
	short    string
	long     string
	examples []string

	// subject is the word without a name, such as the MAC of fdb add.
	subject *subject
	words   []word
	// check refuses combinations; its error is a usage error.
	check func(a *args) error
	// instead says what to write for an option that users of a like program try.
	instead map[string]string
	// endless: the command goes on until it is interrupted.
	endless bool
	run     func(ctx context.Context, app *App, a *args) error
}

// subject is what a command is about.
type subject struct {
	name     string // in capitals: MAC
	what     string // in words: a MAC address
	required bool
	many     bool
	file     bool // the shell completes it
	parse    func(string) error
	complete func(ctx context.Context, app *App) []string
}

// word is a named value (vni N), or a bare word when values is empty (static).
type word struct {
	name   string
	values string
	help   string
	repeat bool
	file   bool // the shell completes the value
	parse  func(string) error
	// complete proposes values; alternatives in values are proposed by themselves.
	complete func(ctx context.Context, app *App) []string
}

// args are the words of a command line.
type args struct {
	subjects []string
	values   map[string][]string
}

func (a *args) subject() string {
	if len(a.subjects) == 0 {
		return ""
	}
	return a.subjects[0]
}

func (a *args) has(name string) bool { return len(a.values[name]) > 0 }

// get is the value of a word, empty when it was not given.
func (a *args) get(name string) string {
	if v := a.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number is a value that a parser has accepted as a number; 0 when it was not given.
func (a *args) number(name string) uint32 {
	n, _ := strconv.ParseUint(a.get(name), 10, 32)
	return uint32(n)
}

// parse reads words in any order.
func (v *verb) parse(path string, tokens []string) (*args, error) {
	usage := strings.TrimSpace("vtepctl " + path + " " + v.synopsis)
	fail := func(format string, a ...any) error {
		return usagef(usage, "%s: %s", path, fmt.Sprintf(format, a...))
	}
	out := &args{values: map[string][]string{}}
	for i := 0; i < len(tokens); i++ {
		token := tokens[i]
		w := v.word(token)
		if plain := strings.TrimLeft(token, "-"); w == nil && plain != token && v.word(plain) != nil {
			return nil, fail("%q: write %s, without dashes", shorten(token), plain)
		}
		if words := v.instead[token[:min(len(token), len("-x"))]]; w == nil && words != "" {
			return nil, fail("%q is not known here: say %s", shorten(token), words)
		}
		if w == nil && len(token) > 1 && token[0] == '-' {
			return nil, fail("%q: options come before the object, as in vtepctl %s %s", shorten(token), shorten(token), path)
		}
		if w == nil {
			if v.subject == nil || len(out.subjects) > 0 && !v.subject.many {
				// As in ip link set dev NAME and ip link add name NAME.
				if s := out.subject(); v.subject != nil && v.subject.name == "NAME" && (s == "dev" || s == "name") {
					return nil, fail("NAME stands without %q before it: write %s %s", s, path, shorten(token))
				}
				return nil, fail("%s", v.unexpected(token))
			}
			if err := v.subject.parse(token); err != nil {
				if near := model.Nearest(token, v.wordNames()); near != "" {
					return nil, fail("%v (did you mean the word %q?)", err, near)
				}
				return nil, fail("%v", err)
			}
			out.subjects = append(out.subjects, token)
			continue
		}
		if len(out.values[w.name]) > 0 && !w.repeat {
			return nil, fail("%s is given twice", w.name)
		}
		if w.values == "" {
			out.values[w.name] = append(out.values[w.name], w.name)
			continue
		}
		i++
		if i == len(tokens) {
			return nil, fail("%s needs a value: %s %s", w.name, w.name, w.values)
		}
		if w.parse != nil {
			if err := w.parse(tokens[i]); err != nil {
				return nil, fail("%s: %v", w.name, err)
			}
		}
		out.values[w.name] = append(out.values[w.name], tokens[i])
	}
	if v.subject != nil && v.subject.required && len(out.subjects) == 0 {
		return nil, fail("%s is missing: %s", v.subject.name, v.subject.what)
	}
	if v.check != nil {
		if err := v.check(out); err != nil {
			return nil, fail("%v", err)
		}
	}
	return out, nil
}

func (v *verb) word(name string) *word {
	i := slices.IndexFunc(v.words, func(w word) bool { return w.name == name })
	if i < 0 {
		return nil
	}
	return &v.words[i]
}

func (v *verb) wordNames() []string {
	names := make([]string, len(v.words))
	for i, w := range v.words {
		names[i] = w.name
	}
	return names
}

func (v *verb) unexpected(token string) string {
	names := v.wordNames()
	if len(names) == 0 {
		return fmt.Sprintf("%q is too much: nothing was expected here", shorten(token))
	}
	return fmt.Sprintf("%q is not a word of this command%s", shorten(token), model.Expected(token, names))
}

// file says whether the name of a file comes after tokens.
func (v *verb) file(tokens []string) bool {
	if len(tokens) == 0 {
		return v.subject != nil && v.subject.file
	}
	w := v.word(tokens[len(tokens)-1])
	return w != nil && w.file
}

// complete proposes what may come after tokens.
func (v *verb) complete(ctx context.Context, app *App, tokens []string) []string {
	seen := map[string]bool{}
	subjects := 0
	for i := 0; i < len(tokens); i++ {
		w := v.word(tokens[i])
		if w == nil {
			subjects++
			continue
		}
		seen[w.name] = !w.repeat
		if w.values == "" {
			continue
		}
		if i++; i == len(tokens) {
			return w.proposals(ctx, app)
		}
	}
	var list []string
	if v.subject != nil && (subjects == 0 || v.subject.many) && v.subject.complete != nil {
		list = append(list, v.subject.complete(ctx, app)...)
	}
	for _, w := range v.words {
		if !seen[w.name] {
			list = append(list, w.name+"\t"+w.help)
		}
	}
	return list
}

func (w *word) proposals(ctx context.Context, app *App) []string {
	var list []string
	if w.complete != nil {
		list = w.complete(ctx, app)
	}
	for alt := range strings.SplitSeq(w.values, "|") {
		if alt == strings.ToLower(alt) {
			list = append(list, alt)
		}
	}
	return list
}

// valid makes a check of a parser of package model.
func valid[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		_, err := parse(s)
		return err
	}
}

// orNone lets a value be the word none, or default.
func orNone(parse func(string) error) func(string) error {
	return func(s string) error {
		if s == "none" {
			return nil
		}
		return orDefault(parse)(s)
	}
}

// nothing lists what people write for a value that is to be taken back.
var nothing = []string{"none", "off", "no", "unset", "0", "-", ""}

// orDefault lets a value be the word default.
func orDefault(parse func(string) error) func(string) error {
	return func(s string) error {
		if s == "default" {
			return nil
		}
		err := parse(s)
		if err != nil && slices.Contains(nothing, s) {
			err = fmt.Errorf("%w, or default for none of its own", err)
		}
		return err
	}
}
