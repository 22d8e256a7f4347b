package marathontest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// speaker is a program that says which task it is, and ends as its env says.
func speaker(said chan<- string) Program {
	return func(p *Process) {
		go func() {
			for {
				conn, err := p.Listeners[0].Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprintln(conn, p.Task, p.Env["NAME"])
			}
		}()
		if p.Env["NAME"] == "fleeting" {
			return
		}
		select {
		case <-p.Terminated():
			said <- "terminated"
		case <-p.Context().Done():
			said <- "killed"
			return
		}
		if p.Env["NAME"] == "stubborn" {
			<-p.Context().Done()
			said <- "killed"
		}
	}
}

// startSpeaker starts an app with one task, and connects to it.
func startSpeaker(t *testing.T, name string) (s *Server, said chan string, conn net.Conn) {
	t.Helper()
	said = make(chan string, 10)
	s = Start(t, Options{Program: func(app string) Program {
		if app == "/speaker" {
			return speaker(said)
		}
		return nil
	}})
	grace := 3600.0 // it is not killed before it has said that it ends
	if name == "stubborn" {
		grace = 0.2
	}
	if err := s.Apply(fmt.Sprintf(`{"id":"/speaker","instances":1,"env":{"NAME":%q},"taskKillGracePeriodSeconds":%g}`, name, grace)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
	task := s.Tasks("/speaker")[0]
	conn, err := net.Dial("tcp", net.JoinHostPort(task.Host, strconv.Itoa(task.Ports[0])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	line, err := bufio.NewReader(conn).ReadString('\n')
	if want := task.ID + " " + name + "\n"; line != want {
		t.Fatalf("said %q, %v; want %q", line, err, want)
	}
	return s, said, conn
}

// A program that is told to stop may end by itself; one that does not is killed after the grace
// period, and its connections are closed.
func TestProgramStops(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{"polite": {"terminated"}, "stubborn": {"terminated", "killed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, said, conn := startSpeaker(t, name)
			if err := s.DeleteApp("/speaker"); err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				if got := <-said; got != w {
					t.Errorf("it was %s, want %s", got, w)
				}
			}
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection stays: %v", err)
			}
		})
	}
}

// A crash is not announced, and another task follows.
func TestProgramCrashes(t *testing.T) {
	t.Parallel()
	s, said, _ := startSpeaker(t, "polite")
	before := s.Tasks("/speaker")[0].ID
	if err := s.Crash(before); err != nil {
		t.Fatal(err)
	}
	if got := <-said; got != "killed" {
		t.Errorf("it was %s", got)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if tasks := s.Tasks("/speaker"); len(tasks) == 1 && tasks[0].ID != before && tasks[0].State == "TASK_RUNNING" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("tasks: %+v", tasks)
		}
	}
}

// A program that ends by itself is a task that has failed.
func TestProgramEnds(t *testing.T) {
	t.Parallel()
	failed := make(chan struct{}, 100)
	s := Start(t, Options{
		Program: func(string) Program { return speaker(nil) },
		OnEvent: func(e Event) {
			if bytes.Contains(e.Data, []byte("TASK_FAILED")) {
				failed <- struct{}{}
			}
		},
	})
	if err := s.Apply(`{"id":"/speaker","instances":1,"env":{"NAME":"fleeting"}}`); err != nil {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-time.After(patience):
		t.Error("no task has failed")
	}
}
