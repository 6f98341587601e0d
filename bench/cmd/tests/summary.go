package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (cmd/test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
}

// summary gathers a run. Output of a test is kept until the test ends, and shown only when it failed.
type summary struct {
	out                     io.Writer
	output                  map[string][]string // package + test -> lines
	skips                   map[string][]string // reason -> tests
	passed, failed, skipped int
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[string][]string{}, skips: map[string][]string{}}
}

// read takes all events of a run.
func (s *summary) read(events io.Reader) error {
	d := json.NewDecoder(events)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("output of go test: %w", err)
		}
		s.take(e)
	}
}

func (s *summary) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "pass", "fail", "skip":
		s.end(e, s.output[key])
		delete(s.output, key)
	}
}

// end counts a test, or prints the lines of a package: those that go test itself would print.
func (s *summary) end(e event, lines []string) {
	if e.Test == "" {
		for _, line := range lines {
			if line != "PASS\n" && (e.Action == "fail" || packageLine.MatchString(line)) {
				fmt.Fprint(s.out, line)
			}
		}
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		why := reason(lines)
		s.skips[why] = append(s.skips[why], strings.TrimPrefix(e.Package, "vtepd/")+"."+e.Test)
	case "fail":
		s.failed++
		for _, line := range lines {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprint(s.out, line)
			}
		}
	}
}

var (
	packageLine = regexp.MustCompile(`^(ok  |FAIL|\?   |---)\s*\t?`)
	position    = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)
)

// reason is what a skipped test said, without its place in the source.
func reason(lines []string) string {
	var said []string
	for _, line := range lines {
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(strings.TrimSpace(line), "--- SKIP") {
			continue
		}
		said = append(said, strings.TrimSpace(position.ReplaceAllString(line, "")))
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

// print writes why tests were skipped, and the counts.
func (s *summary) print() {
	reasons := make([]string, 0, len(s.skips))
	for why := range s.skips {
		reasons = append(reasons, why)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		fmt.Fprintf(s.out, "\nskipped, %d: %s\n", len(s.skips[why]), why)
		for _, test := range s.skips[why] {
			fmt.Fprintf(s.out, "  %s\n", test)
		}
	}
	fmt.Fprintf(s.out, "\n%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}
