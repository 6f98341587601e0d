package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// ErrMissing reports a program that is not there and could not be installed.
var ErrMissing = errors.New("program missing")

// Tool is a program of another package.
type Tool struct{ Program, Package string }

// The tools that the programs under bench use.
var (
	IPerf3 = Tool{"iperf3", "iperf3"}
	IP     = Tool{"ip", "iproute2"}
	Ping   = Tool{"ping", "iputils-ping"}
)

// Install installs the Debian packages of tools that are missing, and says so on w. On a machine without apt-get it names them.
func Install(w io.Writer, tools ...Tool) error {
	var packages []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.Program); err != nil {
			packages = append(packages, t.Package)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w: install %s and try again (there is no apt-get here to do it)", ErrMissing, list)
	}
	fmt.Fprintf(w, "Installing what is missing with apt-get: %s\n", list)
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: apt-get %s: %w: %s", ErrMissing, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
