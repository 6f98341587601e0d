package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vtepd/ctl"
	"vtepd/ctl/client"
	"vtepd/ctl/model"
)

// Exit codes.
const (
	ExitDone        = 0 // done
	ExitRefused     = 1 // refused or not found
	ExitUsage       = 2 // the command line cannot be understood
	ExitUnavailable = 3 // no vtepd at the socket
)

// App is one run of vtepctl.
type App struct {
	Stdout, Stderr io.Writer
	// Stdin is what batch - and apply - read; os.Stdin when nil.
	Stdin io.Reader
	// Getenv reads the environment; os.Getenv when nil.
	Getenv func(string) string

	options
	client *client.Client
}

// options are the global options.
type options struct {
	socket, timeout              string
	json, pretty, details, stats bool
	help, version                bool
	flagSet                      *pflag.FlagSet
}

// usageError is a command line that cannot be understood.
type usageError struct {
	msg string
	// usage is the line that shows how it should be; empty for none.
	usage string
}

func (e *usageError) Error() string { return e.msg }

func usagef(usage, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), usage}
}

// Run executes one command line, without the program's name, and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	if a.Getenv == nil {
		a.Getenv = os.Getenv
	}
	out := &checkedWriter{w: a.Stdout}
	a.Stdout = out
	err := a.run(ctx, args)
	if err == nil && out.err != nil {
		err = fmt.Errorf("output: %w", out.err)
	}
	var usage *usageError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage):
		fmt.Fprintf(a.Stderr, "vtepctl: %s\n", usage.msg)
		if usage.usage != "" {
			fmt.Fprintf(a.Stderr, "usage: %s\n", usage.usage)
		}
		return ExitUsage
	case errors.Is(err, client.ErrUnavailable):
		fmt.Fprintf(a.Stderr, "vtepctl: %s\n", oneLine(err))
		return ExitUnavailable
	}
	fmt.Fprintf(a.Stderr, "vtepctl: %s\n", oneLine(err))
	return ExitRefused
}

// checkedWriter remembers that output was lost: a list that ends early must not pass for a whole one.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// oneLine keeps a reason on one line, whatever is in it.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

func (a *App) run(ctx context.Context, args []string) error {
	root := a.tree()
	// The hidden commands through which shells ask for completions take the command line as it stands.
	if len(args) > 0 && strings.HasPrefix(args[0], "__complete") {
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}
	flags := a.globalFlags()
	flags.SetInterspersed(false)
	flags.Usage = func() {}
	if err := flags.Parse(args); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return usagef("vtepctl [OPTIONS] OBJECT VERB [WORDS]", "%v: see vtepctl help", err)
	}
	if a.version {
		fmt.Fprintf(a.Stdout, "vtepctl %s\n", ctl.Version)
		return nil
	}
	rest := flags.Args()
	if a.help {
		rest = append([]string{"help"}, rest...)
	}
	if len(rest) == 0 {
		return usagef("vtepctl [OPTIONS] OBJECT VERB [WORDS]", "no object: expected one of %s", strings.Join(objectNames(), ", "))
	}
	rest, err := expand(rest)
	if err != nil {
		return err
	}
	a.client = client.New(a.socket)
	defer a.client.Close()
	ctx, cancel, err := a.bound(ctx, rest)
	if err != nil {
		return err
	}
	defer cancel()
	root.SetArgs(rest)
	return root.ExecuteContext(ctx)
}

func (a *App) defaultSocket() string {
	if s := a.Getenv("VTEPD_SOCKET"); s != "" {
		return s
	}
	return client.DefaultSocket
}

// globalFlags are the options that come before the object.
func (a *App) globalFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("vtepctl", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	a.options = options{flagSet: f}
	f.StringVar(&a.socket, "socket", a.defaultSocket(), "the `PATH` where vtepd listens; VTEPD_SOCKET sets the default")
	f.StringVar(&a.timeout, "timeout", "", "end in the time `D`, such as 5s, done or not; 0 waits for ever; monitor and capture are not bounded")
	f.BoolVarP(&a.json, "json", "j", false, "print JSON")
	f.BoolVarP(&a.pretty, "pretty", "p", false, "indent the JSON")
	f.BoolVarP(&a.details, "details", "d", false, "show details")
	f.BoolVarP(&a.stats, "statistics", "s", false, "show statistics")
	f.BoolVarP(&a.help, "help", "h", false, "help for vtepctl, an object or a verb")
	f.BoolVarP(&a.version, "version", "V", false, "print the version")
	return f
}

// expand spells out the object and the verb of a command line, which may be abbreviated as long as they are unambiguous.
func expand(args []string) ([]string, error) {
	helping := false
	if args[0] == "help" {
		helping = true
		args = args[1:]
		if len(args) == 0 {
			return []string{"help"}, nil
		}
	}
	o, err := findObject(args[0])
	if err != nil {
		if verb, object := inverted(args); object != "" {
			err = usagef("vtepctl [OPTIONS] OBJECT VERB [WORDS]", "the object comes first: vtepctl %s %s", object, verb)
		}
		return nil, err
	}
	out := []string{o.name}
	rest := args[1:]
	if len(o.verbs) > 0 && len(rest) > 0 {
		switch rest[0] {
		case "help", "-h", "--help":
			helping = true
			rest = nil
		default:
			v, err := o.findVerb(rest[0])
			if err != nil {
				return nil, err
			}
			out = append(out, v.name)
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && slices.Contains([]string{"-h", "--help"}, rest[len(rest)-1]) || len(o.verbs) == 0 && len(rest) == 1 && rest[0] == "help" {
		helping = true
	}
	if helping {
		return append([]string{"help"}, out...), nil
	}
	return append(out, rest...), nil
}

// inverted finds the verb and the object of a command line that begins with the verb.
func inverted(args []string) (verb, object string) {
	if len(args) < 2 {
		return "", ""
	}
	o, err := findObject(args[1])
	if err != nil {
		return "", ""
	}
	v, err := o.findVerb(args[0])
	if err != nil {
		return "", ""
	}
	return v.name, o.name
}

func findObject(word string) (*object, error) {
	objects := allObjects()
	i, err := match(word, "an object", objectNames())
	if err != nil {
		return nil, usagef("vtepctl [OPTIONS] OBJECT VERB [WORDS]", "%v", err)
	}
	return objects[i], nil
}

func (o *object) findVerb(word string) (*verb, error) {
	names := o.verbNames()
	if strings.HasPrefix(word, "-") {
		return nil, usagef(fmt.Sprintf("vtepctl %s %s", o.name, strings.Join(names, "|")), "%s: %q: options come before the object, as in vtepctl %s %s",
			o.name, shorten(word), shorten(word), o.name)
	}
	for i, v := range o.verbs {
		if slices.Contains(v.aliases, word) {
			return o.verbs[i], nil
		}
	}
	i, err := match(word, "a verb of "+o.name, names)
	if err != nil {
		return nil, usagef(fmt.Sprintf("vtepctl %s %s", o.name, strings.Join(names, "|")), "%s: %v", o.name, err)
	}
	return o.verbs[i], nil
}

// match finds the word of a list that an abbreviation stands for; what is what the list holds.
func match(word, what string, words []string) (int, error) {
	if i := slices.Index(words, word); i >= 0 {
		return i, nil
	}
	var found []string
	if word != "" {
		for _, w := range words {
			if strings.HasPrefix(w, word) {
				found = append(found, w)
			}
		}
	}
	switch len(found) {
	case 1:
		return slices.Index(words, found[0]), nil
	case 0:
		return 0, fmt.Errorf("%q is not %s%s", shorten(word), what, model.Expected(word, words))
	}
	return 0, fmt.Errorf("%q is ambiguous: it may be %s", word, strings.Join(found, " or "))
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:61] + "..."
	}
	return s
}
