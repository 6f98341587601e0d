package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

var errProcStat = errors.New("/proc/stat")

// ticksPerSecond is USER_HZ, the unit of /proc/stat, the same on every Linux architecture Go runs on.
const ticksPerSecond = 100

// congestionKey, under /proc/sys, names the TCP congestion control of a network namespace. A new namespace has that of the first one (tcp_sk_init).
const congestionKey = "net/ipv4/tcp_congestion_control"

// Machine names where figures come from.
type Machine struct {
	CPU        string
	Cores      int
	Kernel     string
	Go         string
	Congestion string // TCP congestion control of who does not choose one, "" if unknown
}

// ThisMachine reads it from the running system.
func ThisMachine() Machine {
	m := Machine{CPU: "unknown CPU", Cores: runtime.NumCPU(), Kernel: "unknown kernel", Go: runtime.Version()}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := cpuModel(info); name != "" {
			m.CPU = name
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	if name, err := os.ReadFile("/proc/sys/" + congestionKey); err == nil {
		m.Congestion = strings.TrimSpace(string(name))
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", m.CPU, m.Cores, m.Kernel, m.Go)
}

// cpuModel finds the processor's name in the text of /proc/cpuinfo.
func cpuModel(info []byte) string {
	for line := range bytes.Lines(info) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && string(bytes.TrimSpace(key)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// processorTime is how long the machine's processors have worked since boot, in seconds, summed over all of them.
func processorTime() (float64, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return busySeconds(stat)
}

// busySeconds adds up the first line of /proc/stat: user, nice, system, irq and softirq; not idle, iowait, or what the hypervisor took.
func busySeconds(stat []byte) (float64, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("%w: first line %q", errProcStat, line)
	}
	var ticks uint64
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: field %d: %w", errProcStat, i, err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, nil
}

// processSeconds is the processor time a process has used, in seconds.
func processSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return usedSeconds(stat)
}

// usedSeconds adds user and system time of a line of /proc/PID/stat. The second field is the program's name in brackets, which may hold anything.
func usedSeconds(stat []byte) (float64, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	// utime and stime are the fields 14 and 15 of proc_pid_stat(5), counted from 1; the first one here is the third.
	if len(fields) < 13 {
		return 0, fmt.Errorf("%w: process line %q", errProcStat, stat)
	}
	var ticks uint64
	for _, i := range []int{11, 12} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: process field %d: %w", errProcStat, i, err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, nil
}

// residentBytes is the memory of a process that is in RAM.
func residentBytes(pid int) (float64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0, fmt.Errorf("/proc/%d/statm: %w", pid, err)
	}
	return float64(resident * os.Getpagesize()), nil
}
