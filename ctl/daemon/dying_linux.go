package daemon

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// pfExiting is the flag of a thread that is on its way out (linux/sched.h, field 9 of proc_pid_stat(5)).
const pfExiting = 0x4

// dying says whether a process was killed, or ends, and is not through with it: the kernel still closes what it had open, which takes tens of milliseconds
// for each port.
func dying(pid int) bool {
	// comm may hold anything, but what follows its last bracket.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	if state := fields[0]; state == "Z" || state == "X" { // of the first thread; another may still be closing files
		return true
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&pfExiting != 0 || killPending(pid)
}

// killPending says whether a process has yet to notice that it was killed.
func killPending(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	const kill = 1 << (9 - 1) // SIGKILL
	for line := range strings.Lines(string(status)) {
		if set, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && mask&kill != 0
		}
	}
	return false
}
