package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vtepd/ctl/api"
)

const docs = "../../docs/"

// TestPageIsComplete: docs/vtepctl.md has every object, verb, alias, word, alternative and option that the grammar takes.
func TestPageIsComplete(t *testing.T) {
	data, err := os.ReadFile(docs + "vtepctl.md")
	if err != nil {
		t.Fatal(err)
	}
	intro, rest, _ := strings.Cut(string(data), "\n## ")
	sections := map[string]string{}
	for section := range strings.SplitSeq(rest, "\n## ") {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	has := func(text, word string) bool {
		return regexp.MustCompile(`(^|[^a-z-])` + regexp.QuoteMeta(word) + `($|[^a-z-])`).MatchString(text)
	}
	for _, o := range allObjects() {
		text, ok := sections[o.name]
		if !ok {
			t.Errorf("there is no section %s", o.name)
			continue
		}
		verbs := o.verbs
		if o.self != nil {
			verbs = []*verb{o.self}
		}
		for _, v := range verbs {
			if !strings.Contains(text, "vtepctl "+o.name) || v.name != "" && !has(text, v.name) {
				t.Errorf("%s: the verb %q is missing", o.name, v.name)
			}
			for _, alias := range v.aliases {
				if !has(intro, alias) {
					t.Errorf("%s %s: the alias %s is missing", o.name, v.name, alias)
				}
			}
			for _, w := range v.words {
				if !has(text, w.name) {
					t.Errorf("%s %s: the word %s is missing", o.name, v.name, w.name)
				}
				for alternative := range strings.SplitSeq(w.values, "|") {
					if alternative == strings.ToLower(alternative) && alternative != "" && !has(text, alternative) {
						t.Errorf("%s %s: %s of %s is missing", o.name, v.name, alternative, w.name)
					}
				}
			}
		}
	}
	for _, f := range []string{"--socket", "--timeout", "-j", "--json", "-p", "--pretty", "-d", "--details", "-s", "--statistics", "-h", "--help", "-V", "--version"} {
		if !strings.Contains(intro, "`"+f+"`") && !strings.Contains(intro, "`"+f+" PATH`") && !strings.Contains(intro, "`"+f+" D`") {
			t.Errorf("the option %s is missing", f)
		}
	}
}

// TestPageHasKeys: docs/vtepctl.md has every key of the JSON that an object prints.
func TestPageHasKeys(t *testing.T) {
	data, err := os.ReadFile(docs + "vtepctl.md")
	if err != nil {
		t.Fatal(err)
	}
	for object, values := range map[string][]any{
		"status":  {api.Status{}, api.FastPath{}, api.Attachment{}, api.CPULatency{}, api.Capability{}, api.FDBTotals{}, api.Frames{}, api.Storm{}},
		"fdb":     {api.FDBEntry{}, api.Move{}, api.Flushed{}},
		"vni":     {api.VNI{}},
		"peer":    {api.Peer{}},
		"port":    {api.Port{}},
		"vlan":    {api.VLAN{}},
		"stats":   {api.Stats{}, api.Counters{}},
		"drops":   {api.Drop{}, api.Sender{}},
		"doctor":  {api.PathDiagnosis{}, api.PortMTU{}},
		"trace":   {api.Trace{}, api.TraceStage{}, api.TraceCopy{}, api.TraceOuter{}},
		"monitor": {api.Event{}},
		"apply":   {api.Difference{}, api.ValueDifference{}},
	} {
		_, section, _ := strings.Cut(string(data), "\n## "+object+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		_, said, found := strings.Cut(section, "JSON")
		if !found {
			t.Errorf("%s: nothing is said of its JSON", object)
		}
		for _, v := range values {
			typ := reflect.TypeOf(v)
			for i := range typ.NumField() {
				key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				if key != "" && !strings.Contains(said, "`"+key+"`") {
					t.Errorf("%s: the key %s of %v is missing", object, key, typ)
				}
			}
		}
	}
}

// example is a command as it stands on a page, with what may stand behind it to explain it.
var example = regexp.MustCompile(`(?m)^    # vtepctl (.*?)(?: {4,}.*| \|.*)?$`)

// TestExamplesParse: every command that the pages show is one, and so is every one that help shows.
func TestExamplesParse(t *testing.T) {
	pages, err := filepath.Glob(docs + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range example.FindAllStringSubmatch(string(data), -1) {
			found++
			if err := understood(strings.Fields(m[1])); err != nil {
				t.Errorf("%s: vtepctl %s: %v", filepath.Base(page), m[1], err)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d examples are on the pages", found)
	}
	for _, o := range allObjects() {
		for _, v := range append(slices.Clone(o.verbs), o.self) {
			if v == nil {
				continue
			}
			for _, e := range v.examples {
				line, isCommand := strings.CutPrefix(e, "vtepctl ")
				line, _, _ = strings.Cut(line, " | ")
				line, _, _ = strings.Cut(line, " > ")
				if err := understood(strings.Fields(line)); isCommand && err != nil {
					t.Errorf("help of %s %s: %s: %v", o.name, v.name, e, err)
				}
			}
		}
	}
}

// understood reads a command line as Run does, and runs nothing.
func understood(line []string) error {
	app := &App{Getenv: func(string) string { return "" }}
	flags := app.globalFlags()
	flags.SetInterspersed(false)
	if err := flags.Parse(line); err != nil {
		return err
	}
	words, err := expand(flags.Args())
	if err != nil || words[0] == "help" {
		return err
	}
	o, err := findObject(words[0])
	if err != nil {
		return err
	}
	v, rest := o.self, words[1:]
	switch {
	case v != nil:
	case len(rest) == 0:
		v = o.verbs[0]
	default:
		if v, err = o.findVerb(rest[0]); err != nil {
			return err
		}
		rest = rest[1:]
	}
	_, err = v.parse(strings.TrimSpace(o.name+" "+v.name), rest)
	return err
}
