// Command tests runs `go test` on every package, with the race detector where a C compiler is there, and sums up: which tests were skipped and why, which
// failed, and how many passed. `make test` runs it; its arguments go to go test.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	args := []string{"test", "-json"}
	if _, err := exec.LookPath(compiler()); err == nil {
		args = append(args, "-race")
	} else {
		fmt.Println("without the race detector, which needs a C compiler (Debian: gcc libc6-dev)")
	}
	args = append(args, os.Args[1:]...)
	if len(os.Args) == 1 {
		args = append(args, "./...")
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
	s := newSummary(os.Stdout)
	readErr := s.read(events)
	err = cmd.Wait()
	s.print()
	if readErr != nil {
		fmt.Fprintln(os.Stderr, "tests:", readErr)
	}
	if err != nil || readErr != nil || s.failed > 0 {
		os.Exit(1)
	}
}

// compiler is the one cgo will use.
func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}
