package xdp

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestObjectsAreCurrent wants the committed objects to be made of the committed sources: `make generate` after a change to them.
func TestObjectsAreCurrent(t *testing.T) {
	before, err := os.ReadFile("programs.sum")
	if err != nil {
		t.Fatal(err)
	}
	recorded, _, _ := strings.Cut(string(before), "\n")
	out, err := exec.Command("go", "run", "./regenerate", "-sum").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != recorded {
		t.Errorf("sources have the sum %s, the objects were made from %s: run `make generate`", got, recorded)
	}
}
