package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long Stop waits for a process to end of itself before it is killed.
const stopGrace = 5 * time.Second

// Process is a program that runs on a host, in a process group of its own, and does not outlive the lab. It sees the /sys of the lab's own
// namespace; a program that needs the host's is started through `ip netns exec`, by Host.Name.
type Process struct {
	cmd    *exec.Cmd
	output capture
	done   chan struct{}
	err    error // of Wait, set before done is closed
}

// capture gathers what a process writes while others look at it.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// Command runs a program on the host to its end. Output is what it wrote to stdout; the error of a program that failed quotes its stderr.
func (h *Host) Command(name string, args ...string) (output string, err error) {
	var stdout, stderr capture
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := h.launch(cmd)
	if err != nil {
		return "", err
	}
	if err := p.Wait(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said)
	}
	return stdout.String(), nil
}

// Must is Command for a step that builds the lab: its failure ends the test.
func (h *Host) Must(name string, args ...string) (output string) {
	h.lab.help()
	output, err := h.Command(name, args...)
	if err != nil {
		h.lab.fatalf("host %s: %w", h.name, err)
	}
	return output
}

// Start starts a program on the host. Its stdout and stderr are kept: see Process.Output.
func (h *Host) Start(name string, args ...string) (*Process, error) {
	return h.launch(exec.Command(name, args...))
}

// StartCmd is Start for a command that needs an environment, a directory or streams of its own. Streams that are nil are kept for Process.Output.
func (h *Host) StartCmd(cmd *exec.Cmd) (*Process, error) { return h.launch(cmd) }

func (h *Host) launch(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // a daemon it left behind may hold the pipe
	var err error
	h.onResident(func() { err = cmd.Start() })
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		if errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil
		}
		close(p.done)
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the process wrote so far, stdout and stderr together.
func (p *Process) Output() string { return p.output.String() }

// Done is closed when the process has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process. Its error is an *exec.ExitError when the process failed.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end (SIGTERM), waits, and kills its process group after five seconds. The error is that of Wait.
func (p *Process) Stop() error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		p.kill()
	}
	return p.Wait()
}

// kill ends the whole process group and waits. A group whose leader was reaped is not signalled: its number may belong to somebody else by now.
func (p *Process) kill() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.done
	}
}
