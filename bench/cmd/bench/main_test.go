package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPartialRunWritesNoPage runs the program: a page of which half is missing must not take the place of a whole one.
func TestPartialRunWritesNoPage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	docs := t.TempDir()
	for _, args := range [][]string{{"-only", "vtepd"}, {"-metrics", "tcp1"}, {"-modes", "wire"}, {"-scale", "rest"}, {"-scale", "none"}} {
		var stderr bytes.Buffer
		cmd := exec.Command(program, append(args, "-docs", docs)...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		if err == nil || !strings.Contains(stderr.String(), args[0]+" measures a part of it") {
			t.Errorf("%v: error %v, %s", args, err, stderr.String())
		}
	}
	if left, _ := os.ReadDir(docs); len(left) > 0 {
		t.Errorf("written: %v", left)
	}
}

func TestChoose(t *testing.T) {
	items := []string{"vtepd", "kernel", "kernel-host", "ovs"}
	for list, want := range map[string]string{"": "vtepd kernel kernel-host ovs", "ovs,vtepd": "vtepd ovs", "kernel-": "kernel kernel-host", "kernel": "kernel"} {
		got, err := choose(items, list, func(s string) string { return s })
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, error %v; want %s", list, got, err, want)
		}
	}
	if got, err := choose(items, "vtepd,odd", func(s string) string { return s }); err == nil {
		t.Errorf("an unknown name chose %v", got)
	}
}
