package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/internal/testbed"
	"relay/sources/marathon/marathontest"
)

// A row has what came since the one before, totals, and each server by its name.
func TestRow(t *testing.T) {
	t.Parallel()
	f := NewFigures()
	var closed func()
	for n := range 11 {
		s := f.Server(&marathontest.Process{App: "/imp/web", Task: fmt.Sprint(n)})
		if n != 4 {
			closed = s.Opened()
		}
	}
	f.Server(&marathontest.Process{App: "/imp/agent", Task: "agent"}) // it counts requests alone
	for n := range 100 {
		f.Request(time.Duration(n+1)*time.Millisecond, nil)
	}
	f.Request(time.Second, errors.New("no answer"))
	f.Closed()
	f.Refused()
	f.Refused()
	closed()
	closed() // once counts
	now := time.Date(2030, 1, 31, 12, 0, 1, 0, time.UTC)
	want := "12:00:01 50 51.0 100.0 1 1 2 web-1 1, web-2 1, web-3 1, web-4 1, web-5 0, web-6 1, web-7 1, web-8 1, 3 more 2"
	if got := strings.Join(strings.Fields(f.row(now, 2*time.Second)), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = "12:00:02 0 - - 0 1 2 web-1 1,"
	if got := strings.Join(strings.Fields(f.row(now.Add(time.Second), time.Second)), " "); !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
	if open := f.Open("/imp/web"); open["4"] != 0 || open["0"] != 1 || len(open) != 11 {
		t.Errorf("open: %v", open)
	}
}

// Who follows a log gets what is there, and waits for what comes.
func TestLog(t *testing.T) {
	t.Parallel()
	var l Log[string]
	l.Add("a")
	l.Add("b")
	if list, err := l.After(t.Context(), 1); err != nil || len(list) != 1 || list[0] != "b" {
		t.Errorf("after one: %q, %v", list, err)
	}
	came := make(chan []string)
	go func() {
		list, _ := l.After(t.Context(), 2)
		came <- list
	}()
	l.Add("c")
	if list := <-came; len(list) != 1 || list[0] != "c" {
		t.Errorf("came: %q", list)
	}
}

// A check that does not hold ends the story with what was seen.
func TestCheck(t *testing.T) {
	t.Parallel()
	r := &Run{bed: &testbed.Bed{}}
	after := false
	err := r.try(func(r *Run) {
		r.Check(true, "this holds")
		r.Check(1 > 2, "%d is not more than %d", 1, 2)
		after = true
	})
	if err == nil || err.Error() != "1 is not more than 2" || after {
		t.Errorf("ended with %v, went on: %v", err, after)
	}
}
