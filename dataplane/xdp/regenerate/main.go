// Command regenerate compiles the C sources of package xdp, run by go generate in its directory.
//
// Objects of different compilers differ, so programs.sum records what the committed ones were made from and with
// which compiler: the SHA-256 over flags and sources, and the first line of clang --version. Sources that changed are
// compiled by the compiler at hand. Sources that did not are compiled only by the recorded compiler, which must then
// come to the same bytes; any other is not asked, for it would change the objects without a reason.
//
// With -sum it prints the sum of the sources and changes nothing.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// flags of the compiler. v3 is the instruction set of Linux 5.1.
var flags = []string{"-O2", "-g", "-Wall", "-Wextra", "-Werror", "-mcpu=v3"}

const record = "programs.sum"

var outputs = []string{"programs_bpfel.go", "programs_bpfel.o", "programs_bpfeb.go", "programs_bpfeb.o"}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "regenerate:", err)
		os.Exit(1)
	}
}

func run() error {
	sum, err := sourceSum()
	if err != nil {
		return err
	}
	if len(os.Args) > 1 && os.Args[1] == "-sum" {
		fmt.Println(sum)
		return nil
	}
	version, err := compiler()
	if err != nil {
		return err
	}
	old, _ := os.ReadFile(record)
	oldSum, oldVersion, _ := strings.Cut(strings.TrimSpace(string(old)), "\n")
	if oldSum == sum && oldVersion != version && complete() {
		fmt.Printf("sources unchanged; the objects stay those of %s\n", oldVersion)
		return nil
	}
	args := []string{"tool", "bpf2go", "-go-package", "xdp", "-target", "bpfel,bpfeb", "-cflags", strings.Join(flags, " "), "programs", "programs.c"}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bpf2go: %w", err)
	}
	return os.WriteFile(record, []byte(sum+"\n"+version+"\n"), 0o644)
}

// sourceSum covers everything that decides what the objects are, but for the compiler.
func sourceSum() (string, error) {
	var sources []string
	for _, pattern := range []string{"*.c", "*.h"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		sources = append(sources, found...)
	}
	slices.Sort(sources)
	h := sha256.New()
	fmt.Fprintln(h, flags)
	for _, name := range sources {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func compiler() (string, error) {
	out, err := exec.Command("clang", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("clang: %w", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), nil
}

func complete() bool {
	for _, name := range outputs {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}
