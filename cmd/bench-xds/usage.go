package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTimeOf is what another process has used, to a hundredth of a second.
func cpuTimeOf(pid int) (used time.Duration) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name of the program may have spaces; it ends with the last bracket.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system, tick = 11, 12, 10 * time.Millisecond
	for i, field := range fields {
		if n, err := strconv.ParseInt(string(field), 10, 64); err == nil && (i == user || i == system) {
			used += time.Duration(n) * tick
		}
	}
	return used
}

// resident returns VmRSS and VmHWM of a process in bytes; 0 is this one.
func resident(pid int) (now, peak uint64) {
	process := "self"
	if pid != 0 {
		process = strconv.Itoa(pid)
	}
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseUint(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			peak = kilobytes << 10
		}
	}
	return now, peak
}

// busyTime is the time that the machine's processors were not idle.
func busyTime() (busy time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	const idle, ioWait, irqEnd, tick = 4, 5, 8, 10 * time.Millisecond
	for i, field := range bytes.Fields(line) {
		if n, err := strconv.ParseInt(string(field), 10, 64); err == nil && i != idle && i != ioWait && i < irqEnd {
			busy += time.Duration(n) * tick
		}
	}
	return busy
}
