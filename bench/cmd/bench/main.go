// Command bench measures vtepd beside the kernel's vxlan device and Open vSwitch in network namespaces, prints the result as a table, and with -docs
// writes it to benchmarks.md and benchmarks.svg. `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vtepd/bench"
	"vtepd/bench/lab"
)

func main() {
	if bench.IsService(os.Args[1:]) {
		if err := bench.Serve(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var programs bench.Programs
	flag.StringVar(&programs.Vtepd, "vtepd", "bin/vtepd", "vtepd to measure")
	rounds := flag.Int("rounds", wholeRounds, "how often every system has its turn; the median counts")
	seconds := flag.Int("seconds", 4, "length of a TCP stream; in a test of scale it takes half of it, a UDP load a quarter, round trips an eighth")
	congestion := flag.String("congestion", "", "TCP congestion control of the workloads, as cubic; the machine's when it is not given")
	only := flag.String("only", "", "measure only these systems, comma-separated: names as printed, the groups userspace and fastpath, or a name ending in - for all that start with what stands before the -; or none")
	metrics := flag.String("metrics", "", "take only these figures, comma-separated: "+join(bench.Metrics))
	scale := flag.String("scale", join(scaleNames()), "tests of scale, or none; none also when -only, -metrics, -modes or -congestion is given without it")
	modes := flag.String("modes", join(bench.Modes), "underlay modes")
	docs := flag.String("docs", "", "write benchmarks.md and benchmarks.svg into this directory, if this is a whole run of at least "+strconv.Itoa(wholeRounds)+" rounds")
	force := flag.Bool("force", false, "with -docs: write a part of a run too, in the place of what is there")
	version := flag.String("version", "unknown", "version of vtepd, for the report")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *seconds < 1 {
		return fmt.Errorf("want no arguments, and at least 1 round and 1 second")
	}
	partial := partialFlags(flag.CommandLine)
	if why := keeps(partial, *rounds, *force); *docs != "" && why != "" {
		fmt.Printf("%s stays as it is: %s (-force writes all the same)\n", filepath.Join(*docs, "benchmarks.md"), why)
		*docs = ""
	}
	if len(partial) > 0 && !slices.Contains(partial, "-scale") {
		*scale = "none"
	}
	if *congestion != "" && *scale != "none" {
		return fmt.Errorf("-congestion does not reach the tests of scale: leave -scale out")
	}
	if err := lab.Permitted(); err != nil {
		return fmt.Errorf("%w: run `sudo make bench`", err)
	}
	if err := bench.Install(os.Stdout, bench.IP, bench.IPerf3); err != nil {
		return err
	}
	plan := bench.Plan{Rounds: *rounds, Times: bench.TimesFor(time.Duration(*seconds) * time.Second), Congestion: *congestion, Log: os.Stdout}
	var err error
	if *only != "none" {
		if plan.Systems, err = choose(bench.Systems(programs), *only, func(s bench.System) []string { return append([]string{s.Name}, s.Groups...) }); err != nil {
			return err
		}
	}
	if plan.Metrics, err = choose(bench.Metrics, *metrics, func(m bench.Metric) []string { return []string{string(m)} }); err != nil {
		return err
	}
	if plan.Modes, err = choose(bench.Modes, *modes, func(m bench.Mode) []string { return []string{string(m)} }); err != nil {
		return err
	}
	scalePlan := bench.ScalePlan{Programs: programs, Rounds: plan.Rounds, Time: plan.Times.TCP / 2, Log: plan.Log}
	if *scale != "none" {
		if scalePlan.Tests, err = choose(bench.ScaleTests, *scale, func(t bench.ScaleTest) []string { return []string{t.Name} }); err != nil {
			return err
		}
	}
	report := bench.Report{Plan: plan, Machine: bench.ThisMachine(), Version: *version, Date: time.Now(), Results: plan.Run(ctx), Scale: scalePlan.Run(ctx)}
	fmt.Printf("\n%s", report.Markdown())
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: nothing written")
	}
	if *docs != "" {
		if err := report.Write(*docs); err != nil {
			return err
		}
		fmt.Printf("\nwritten to %s/benchmarks.md and %s/benchmarks.svg\n", *docs, *docs)
	}
	return nil
}

// partialFlags are the flags given that leave figures out, or make them others than those of the page.
func partialFlags(flags *flag.FlagSet) (names []string) {
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"only", "metrics", "modes", "scale", "congestion"}, f.Name) {
			names = append(names, "-"+f.Name)
		}
	})
	return names
}

// wholeRounds is how many rounds figures for the page take at least.
const wholeRounds = 5

// keeps says why a run must not take the place of the page; empty when it may.
func keeps(partial []string, rounds int, force bool) string {
	switch {
	case force:
		return ""
	case len(partial) > 0:
		return strings.Join(partial, ", ") + " measures a part of it, or something else"
	case rounds < wholeRounds:
		return fmt.Sprintf("it takes %d rounds at least", wholeRounds)
	}
	return ""
}

func scaleNames() []string {
	names := make([]string, len(bench.ScaleTests))
	for i, t := range bench.ScaleTests {
		names[i] = t.Name
	}
	return names
}

func join[T ~string](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	return strings.Join(words, ",")
}

// choose picks items by a comma-separated list of their names, in the items' own order; an empty list picks all. The first name of an item is its own, and may be shortened; the
// others are those of its groups.
func choose[T any](items []T, list string, names func(T) []string) ([]T, error) {
	if list == "" {
		return items, nil
	}
	taken := map[int]bool{}
	for word := range strings.SplitSeq(list, ",") {
		found := false
		for i, item := range items {
			prefix, isPrefix := strings.CutSuffix(word, "-")
			if slices.Contains(names(item), word) || isPrefix && strings.HasPrefix(names(item)[0], prefix) {
				taken[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("no %q", word)
		}
	}
	var chosen []T
	for i := range items {
		if taken[i] {
			chosen = append(chosen, items[i])
		}
	}
	return slices.Clip(chosen), nil
}
