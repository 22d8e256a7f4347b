// Package cputest measures processor time, for tests that limit what something
// may cost: the time on the clock depends on what else the machine does.
package cputest

import (
	"runtime"
	"syscall"
	"time"
)

const (
	process = syscall.RUSAGE_SELF
	thread  = 1 // RUSAGE_THREAD
)

// Thread returns the processor time that do takes on its own goroutine.
func Thread(do func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return spent(thread, do)
}

// Process returns the processor time of the whole process while do runs.
func Process(do func()) time.Duration { return spent(process, do) }

func spent(who int, do func()) time.Duration {
	before := total(who)
	do()
	return total(who) - before
}

func total(who int) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
