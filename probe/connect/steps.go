package connect

import (
	"context"
	"errors"
	"os"
	"time"

	"relay/probe"
)

// Steps are those of one probe. After one that failed, no other is made.
type Steps struct {
	All []probe.Step
	// Mask takes out of what was seen what nobody may see; nil if there is nothing.
	Mask func(string) string
}

// Do makes a step, unless one before has failed. It says whether the step was made, and all is well. A limit of 0 is none.
func (s *Steps) Do(ctx context.Context, name string, limit time.Duration, do func(context.Context) error) bool {
	if s.Failed() != nil {
		return false
	}
	within, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		within, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	begin := time.Now()
	err := do(within)
	step := probe.Step{Name: name, Duration: time.Since(begin), Limit: limit, OK: err == nil}
	if err != nil {
		// A connection may notice the end of its time before the context does.
		late := within.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)
		step.Seen = s.masked(seen(err, late, ctx.Err() != nil || late && (limit == 0 || sooner(ctx, begin.Add(limit))), limit))
	}
	s.All = append(s.All, step)
	return err == nil
}

// sooner reports whether a context ends before a time.
func sooner(ctx context.Context, than time.Time) bool {
	deadline, ok := ctx.Deadline()
	return ok && deadline.Before(than)
}

// seen says what an error was: of a step that was late, and of one that ended with the whole.
func seen(err error, late, over bool, limit time.Duration) string {
	words, worded := errors.AsType[*Words](err)
	switch {
	case worded && over:
		return words.Text + "; the probe's time was over"
	case worded:
		return words.Text
	case over:
		return "no answer until the probe's time was over"
	case late:
		return "no answer within " + limit.String()
	}
	return Say(err)
}

func (s *Steps) masked(text string) string {
	if s.Mask != nil {
		return s.Mask(text)
	}
	return text
}

// Blame makes a step that seemed to be well the one that failed. Those that came after it are forgotten.
func (s *Steps) Blame(name, seen string) {
	for n := range s.All {
		if s.All[n].Name == name {
			s.All[n].OK, s.All[n].Seen = false, s.masked(seen)
			s.All = s.All[:n+1]
			return
		}
	}
}

// Failed is the step that failed; nil if none has.
func (s *Steps) Failed() *probe.Step {
	if n := len(s.All); n > 0 && !s.All[n-1].OK {
		return &s.All[n-1]
	}
	return nil
}

// Into writes into a result what the steps found.
func (s *Steps) Into(r *probe.Result) {
	r.Duration, r.Steps, r.OK = time.Since(r.Time), s.All, true
	if failed := s.Failed(); failed != nil {
		r.OK, r.Reason, r.Skipped = false, failed.Name+": "+failed.Seen, skip(r.Code)
	}
}

// Words is an error that says all that was seen, for people.
type Words struct{ Text string }

func (w *Words) Error() string { return w.Text }
