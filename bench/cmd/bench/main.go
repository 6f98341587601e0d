// Command bench measures vtepd beside the kernel's vxlan device and Open vSwitch in network namespaces, prints the result as a table, and with -docs
// writes it to benchmarks.md and benchmarks.svg. `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"vtepd/bench"
	"vtepd/bench/lab"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == bench.EchoCommand {
		fmt.Fprintln(os.Stderr, "bench:", bench.Echo(os.Args[2]))
		os.Exit(1)
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
	rounds := flag.Int("rounds", 5, "how often every system has its turn; the median counts")
	seconds := flag.Int("seconds", 3, "length of one measurement")
	only := flag.String("only", "", "measure only these systems, comma-separated (names as printed; a name ending in - takes all that start with what stands before the -), or none")
	metrics := flag.String("metrics", "", "take only these figures, comma-separated: "+join(bench.Metrics))
	scale := flag.String("scale", join(scaleNames()), "tests of scale, or none; none also when -only, -metrics or -modes is given without it")
	modes := flag.String("modes", join(bench.Modes), "underlay modes")
	docs := flag.String("docs", "", "write benchmarks.md and benchmarks.svg into this directory")
	version := flag.String("version", "unknown", "version of vtepd, for the report")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *seconds < 1 {
		return fmt.Errorf("want no arguments, and at least 1 round and 1 second")
	}
	partial := partialFlags(flag.CommandLine)
	if *docs != "" && len(partial) > 0 {
		return fmt.Errorf("-docs writes the whole page, and %s measures a part of it: leave one of them away", strings.Join(partial, ", "))
	}
	if len(partial) > 0 && !slices.Contains(partial, "-scale") {
		*scale = "none"
	}
	if err := lab.Permitted(); err != nil {
		return fmt.Errorf("%w: run `sudo make bench`", err)
	}
	if err := bench.Install(os.Stdout, bench.IPerf3); err != nil {
		return err
	}
	plan := bench.Plan{Rounds: *rounds, Time: time.Duration(*seconds) * time.Second, Log: os.Stdout}
	var err error
	if *only != "none" {
		if plan.Systems, err = choose(bench.Systems(programs), *only, func(s bench.System) string { return s.Name }); err != nil {
			return err
		}
	}
	if plan.Metrics, err = choose(bench.Metrics, *metrics, func(m bench.Metric) string { return string(m) }); err != nil {
		return err
	}
	if plan.Modes, err = choose(bench.Modes, *modes, func(m bench.Mode) string { return string(m) }); err != nil {
		return err
	}
	scalePlan := bench.ScalePlan{Programs: programs, Rounds: plan.Rounds, Time: plan.Time, Log: plan.Log}
	if *scale != "none" {
		if scalePlan.Tests, err = choose(bench.ScaleTests, *scale, func(t bench.ScaleTest) string { return t.Name }); err != nil {
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

// partialFlags are the flags given that leave figures out.
func partialFlags(flags *flag.FlagSet) (names []string) {
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"only", "metrics", "modes", "scale"}, f.Name) {
			names = append(names, "-"+f.Name)
		}
	})
	return names
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

// choose picks items by a comma-separated list of their names, in the items' own order; an empty list picks all.
func choose[T any](items []T, list string, name func(T) string) ([]T, error) {
	if list == "" {
		return items, nil
	}
	taken := map[int]bool{}
	for word := range strings.SplitSeq(list, ",") {
		found := false
		for i, item := range items {
			prefix, isPrefix := strings.CutSuffix(word, "-")
			if name(item) == word || isPrefix && strings.HasPrefix(name(item), prefix) {
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
