// Command tests runs `go test` on every package, with the race detector where a C compiler is there, and sums up: which tests were skipped and why, which
// failed, and how many passed. Then it runs those of the data plane once more with the fast path on. `make test` runs it; its arguments go to go test.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

// parallel is how many tests of a package run at the same time, of those that may (testing.T.Parallel). Those of the data plane wait for the kernel most of
// their time: go test's own choice, one a processor, leaves the processors idle.
const parallel = "4"

// parallelAlone is the same for a package that nothing runs beside: of the two at a time that two processors are given, each has four.
const parallelAlone = "8"

// timeout is how long the tests of a package may take. Those of the data plane take several minutes, and more than the ten that go test grants where others
// keep the processors busy.
const timeout = "30m"

// weighing are the tests of package fdb of how much memory a million entries take: the race detector makes them slow, and takes memory itself.
const weighing = "^(TestMemory|TestMemoryUnderFlood)$"

func main() {
	args := []string{"test", "-json", "-timeout", timeout, "-parallel", parallel}
	_, err := exec.LookPath(compiler())
	race := err == nil
	if race {
		args = append(args, "-race")
	} else {
		fmt.Println("without the race detector, which needs a C compiler (Debian: gcc libc6-dev)")
	}
	args = append(args, os.Args[1:]...)
	whole := len(os.Args) == 1
	if whole && race {
		args = append(args, "-skip", weighing)
	}
	if whole {
		args = append(args, "./...")
	}
	s := newSummary(os.Stdout)
	ok := run(s, nil, args...)
	if whole && race {
		ok = run(s, nil, "test", "-json", "-timeout", timeout, "-run", weighing, "./fdb") && ok
	}
	if whole {
		// What the switch does holds for the fast path too: the same tests with it on, but for those that choose for themselves.
		fmt.Println("again, with the fast path on:")
		ok = run(s, []string{"VTEPD_TEST_FASTPATH=on"}, "test", "-json", "-timeout", timeout, "-parallel", parallelAlone, "-skip", "^(TestFastPath|TestMirror)", "./dataplane") && ok
	}
	s.print()
	if !ok || s.failed > 0 {
		os.Exit(1)
	}
}

// run runs go with an environment that has some settings more, and adds what the tests came to. It says whether go was content.
func run(s *summary, env []string, args ...string) bool {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		return false
	}
	readErr := s.read(events)
	err = cmd.Wait()
	if readErr != nil {
		fmt.Fprintln(os.Stderr, "tests:", readErr)
	}
	return err == nil && readErr == nil
}

// compiler is the one cgo will use.
func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}
