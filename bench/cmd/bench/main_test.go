package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vtepd/bench"
	"vtepd/bench/lab"
)

// TestKeeps: a page of which half is missing, or that rests on a round or two, must not take the place of a whole one.
func TestKeeps(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-rounds", "7"}, ""},
		{[]string{"-only", "vtepd"}, "-only measures a part of it, or something else"},
		{[]string{"-metrics", "tcp1", "-modes", "wire"}, "-metrics, -modes measures a part of it, or something else"},
		{[]string{"-congestion", "cubic"}, "-congestion measures a part of it, or something else"},
		{[]string{"-scale", "none"}, "-scale measures a part of it, or something else"},
		{[]string{"-rounds", "4"}, "it takes 5 rounds at least"},
		{[]string{"-rounds", "4", "-only", "ovs", "-force"}, ""},
	} {
		flags := flag.NewFlagSet("bench", flag.ContinueOnError)
		for _, name := range []string{"only", "metrics", "modes", "scale", "congestion"} {
			flags.String(name, "", "")
		}
		rounds, force := flags.Int("rounds", wholeRounds, ""), flags.Bool("force", false, "")
		if err := flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if got := keeps(partialFlags(flags), *rounds, *force); got != c.want {
			t.Errorf("%v: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	items := []string{"vtepd", "kernel", "kernel-host", "ovs"}
	for list, want := range map[string]string{"": "vtepd kernel kernel-host ovs", "ovs,vtepd": "vtepd ovs", "kernel-": "kernel kernel-host", "kernel": "kernel", "k": "kernel kernel-host"} {
		got, err := choose(items, list, func(s string) []string { return []string{s, s[:1]} })
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, error %v; want %s", list, got, err, want)
		}
	}
	if got, err := choose(items, "vtepd,odd", func(s string) []string { return []string{s, s[:1]} }); err == nil {
		t.Errorf("an unknown name chose %v", got)
	}
}

// TestToolsOfTheKernelAreAskedFor: without ip there is no kernel vxlan device to hold anything against, which a run must not find out on its way.
func TestToolsOfTheKernelAreAskedFor(t *testing.T) {
	lab.NeedRoot(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "iperf3"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	args, flags := os.Args, flag.CommandLine
	defer func() { os.Args, flag.CommandLine = args, flags }()
	os.Args, flag.CommandLine = []string{"bench", "-only", "none", "-scale", "none"}, flag.NewFlagSet("bench", flag.ContinueOnError)
	if err := run(context.Background()); !errors.Is(err, bench.ErrMissing) || !strings.Contains(err.Error(), "iproute2") {
		t.Errorf("without ip: error %v, want one that names iproute2", err)
	}
}
