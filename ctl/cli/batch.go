package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"vtepd/ctl/api"
	"vtepd/ctl/client"
)

// maxBatchLine bounds a line of a batch file, in bytes: the peer list of a VNI, at 40 bytes a peer.
const maxBatchLine = 1 << 20

// batchVerbs are what a batch may hold.
var batchVerbs = []string{"add", "append", "replace", "set", "del"}

func batchObject() *object {
	return &object{
		name:  "batch",
		short: "many commands from a file, all or nothing",
		self: &verb{
			synopsis: "FILE",
			long: "FILE holds one command a line, as after vtepctl; what follows a # is a comment, and - is the standard input.\n" +
				"Commands that add, set, replace and delete may stand in it. Each must be right in its turn; they happen together or,\n" +
				"when one is refused, none of them. The error names its line.",
			examples: []string{"vtepctl batch entries.txt", "generate-entries | vtepctl batch -"},
			subject: &subject{name: "FILE", what: "a file with one command a line, or -", required: true, file: true,
				parse: func(string) error { return nil }},
			run: func(ctx context.Context, app *App, a *args) error { return app.batch(ctx, a.subject()) },
		},
	}
}

func (a *App) batch(ctx context.Context, name string) error {
	in, name := a.open(ctx, name)
	defer in.Close()
	inner := *a
	inner.Stdout, inner.client = io.Discard, a.client.Begin()
	var lines []int // of each request
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxBatchLine)
	// What was read of a line when reading failed is a command only by chance.
	for n := 1; s.Scan() && s.Err() == nil; n++ {
		line := s.Text()
		if n == 1 {
			// As in a configuration file: some editors begin UTF-8 text with a byte order mark.
			line = strings.TrimPrefix(line, "\ufeff")
		}
		words := batchWords(line)
		if len(words) == 0 {
			continue
		}
		if err := inner.batchLine(ctx, words); err != nil {
			return atLine(name, n, err)
		}
		for len(lines) < inner.client.Gathered() {
			lines = append(lines, n)
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("%s: a line has more than %d bytes: it is no command", name, maxBatchLine)
		}
		return err
	}
	err := inner.client.Commit(ctx)
	var refused *api.Error
	if errors.As(err, &refused) && refused.Request > 0 && refused.Request <= len(lines) {
		return atLine(name, lines[refused.Request-1], err)
	}
	return err
}

// batchWords splits a line into words, without comment and without the program's name.
func batchWords(line string) []string {
	words := strings.Fields(line)
	if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) > 0 && words[0] == "vtepctl" {
		words = words[1:]
	}
	return words
}

// atLine says where an error is. A line that cannot be understood stays a usage error.
func atLine(name string, line int, err error) error {
	var usage *usageError
	if errors.As(err, &usage) {
		return &usageError{fmt.Sprintf("%s:%d: %s", name, line, usage.msg), usage.usage}
	}
	return fmt.Errorf("%s:%d: %w", name, line, err)
}

// batchLine gathers one command.
func (a *App) batchLine(ctx context.Context, words []string) error {
	words, err := expand(words)
	if err != nil {
		return err
	}
	var v *verb
	if o, err := findObject(words[0]); err == nil && len(words) > 1 {
		if i := slices.IndexFunc(o.verbs, func(v *verb) bool { return v.name == words[1] }); i >= 0 {
			v = o.verbs[i]
		}
	}
	if v == nil || !slices.Contains(batchVerbs, v.name) {
		return usagef("", "%s is no part of a batch: it takes commands that add, set, replace and delete VNIs, VLANs, peers, ports and entries", strings.Join(words[:min(len(words), 2)], " "))
	}
	in, err := v.parse(strings.Join(words[:2], " "), words[2:])
	if err != nil {
		return err
	}
	if err := v.run(ctx, a, in); err != nil {
		if errors.Is(err, client.ErrBatch) {
			return fmt.Errorf("%s %s: %w", words[0], words[1], err)
		}
		return err
	}
	return nil
}
