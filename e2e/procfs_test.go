package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// procfs is what Linux tells of a process.
type procfs struct {
	t   testing.TB
	pid int
}

func (p procfs) proc(file string) string {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// cpu is the CPU time used so far, to 10 ms.
func (p procfs) cpu() time.Duration {
	p.t.Helper()
	stat := p.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from the third on
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// memory is VmRSS, or VmHWM, the most since resetPeak, in bytes.
func (p procfs) memory(name string) int64 {
	p.t.Helper()
	_, rest, _ := strings.Cut(p.proc("status"), name+":")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	kB, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kB << 10
}

func (p procfs) resetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}
