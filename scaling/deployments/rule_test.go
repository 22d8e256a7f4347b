package deployments

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// tasksOf makes tasks of text such as "h h d3 d0 d? l x": healthy, draining with 3 connections, with none, of
// which it is not known, stopped by the source already, and out of rotation.
func tasksOf(app *App, text string) {
	for i, word := range strings.Fields(text) {
		t := Task{ID: fmt.Sprintf("%s%d", strings.TrimPrefix(app.ID, "/"), i+1), Health: sources.Healthy, Known: true}
		switch word[0] {
		case 'x':
			app.Out = append(app.Out, t.ID)
			continue
		case 'l':
			t.Health, t.Leaving, t.Settled = sources.Draining, true, true
		case 'd':
			t.Health, t.Known = sources.Draining, word[1] != '?'
			t.Settled = t.Known
			_, _ = fmt.Sscan(word[1:], &t.Connections)
		}
		app.Tasks = append(app.Tasks, t)
	}
}

// shownPlan shows a plan as "new 1>3, old 2>1 -old1; waits; done".
func shownPlan(p Plan) string {
	var parts []string
	for _, c := range p.Changes {
		part := fmt.Sprintf("%s %d>%d", strings.TrimPrefix(c.App, "/"), c.From, c.To)
		for _, task := range c.Kill {
			part += " -" + task
		}
		if c.Cut > 0 {
			part += fmt.Sprintf(" cuts %d", c.Cut)
		}
		parts = append(parts, part)
	}
	text := strings.Join(parts, ", ")
	if len(p.Waiting) > 0 {
		text += "; waits"
	}
	if p.Done {
		text += "; done"
	}
	return strings.TrimPrefix(text, "; ")
}

func TestNext(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		old, new string
		// missing are instances that are wanted, and do not run.
		oldMissing, newMissing int
		target                 int
		back, asleep           bool
		options                Options
		want                   string
	}{
		{name: "the beginning", old: "h h h", target: 3, want: "new 0>3"},
		{name: "one at a time", old: "h h h", target: 3, options: Options{Instances: 1}, want: "new 0>1"},
		{name: "not more than the target", old: "h d2 d1", new: "h h", target: 3, options: Options{Instances: 5}, want: "new 2>3; waits"},
		{name: "the new one is not complete yet", old: "h h h", new: "h", newMissing: 1, target: 3, want: "waits"},
		{name: "the new one fails", old: "h h h", new: "x", target: 3, want: "waits"},
		{name: "nothing drains yet", old: "h h h", new: "h h h", target: 3, want: "waits"},
		{name: "nothing is left at one", old: "d0 h h", new: "h", target: 3, want: "old 3>2 -old1, new 1>3"},
		{name: "connections are left", old: "d2 d1 d4", new: "h h h", target: 3, want: "waits"},
		{name: "some have none left", old: "d2 d0 d0", new: "h h h", target: 3, want: "old 3>1 -old2 -old3; waits"},
		{name: "it is not known", old: "d? d0 h", new: "h h", target: 2, want: "old 3>2 -old2; waits"},
		{name: "force", old: "d? d7 h", new: "h h", target: 2, options: Options{Force: true}, want: "old 3>1 -old1 -old2 cuts 7"},
		{name: "force stops nothing that takes connections", old: "h h h", new: "h", target: 3, options: Options{Force: true}, want: "new 1>3"},
		{name: "what the source stops already is not stopped twice", old: "l l h", oldMissing: -2, new: "h h h", target: 3, want: "waits"},
		{name: "not more than there shall be", old: "d0 d0", oldMissing: -1, new: "h h", target: 2, want: "old 1>0 -old1"},
		{name: "the last are not in rotation", old: "x x", new: "h h", target: 2, want: "waits"},
		{name: "the last are not in rotation, force", old: "x x", new: "h h", target: 2, options: Options{Force: true}, want: "old 2>0 -old1 -old2"},
		{name: "the last never started", oldMissing: 2, new: "h h", target: 2, want: "old 2>0"},
		{name: "those out of rotation stay until all is complete", old: "x h", new: "h", target: 2, want: "new 1>2"},
		{name: "done", new: "h h", target: 2, want: "done"},
		{name: "done, and scaled to more", new: "h h h", target: 2, want: "done"},
		{name: "done, and one has crashed", new: "h", newMissing: 1, target: 2, want: "waits"},
		{name: "it sleeps", target: 2, asleep: true, want: "done"},
		{name: "it sleeps, and the old one does not", old: "h", target: 2, asleep: true, want: "new 0>2"},
		{name: "no label: first as many as there are", old: "d0 h h", new: "h", want: "new 1>3; waits"},
		{name: "no label: then they go", old: "d0 d0 d1", new: "h h h", want: "old 3>1 -old1 -old2; waits"},
		{name: "no label: the last", old: "d0", new: "h h h", want: "old 1>0 -old1"},
		{name: "no label: done", new: "h h h", want: "done"},
		{name: "back: the old one gets its instances", old: "h", new: "h h", target: 3, back: true, want: "old 1>3"},
		{name: "back: from 0", new: "h h h", target: 3, back: true, want: "old 0>3"},
		{name: "back: one at a time", old: "h", new: "h h", target: 3, back: true, options: Options{Instances: 1}, want: "old 1>2"},
		{name: "back: new ones drain", old: "h h h", new: "d2 d0", target: 3, back: true, want: "new 2>1 -new2; waits"},
		{name: "back: done", old: "h h h", target: 3, back: true, want: "done"},
		{name: "back: sleep of the new one is no matter", old: "h h h", target: 3, back: true, asleep: true, want: "done"},
	}
	for _, tt := range tests {
		old, next := App{ID: "/old", StartedAt: at, Target: tt.target}, App{ID: "/new", StartedAt: at.Add(time.Hour), Target: tt.target, Asleep: tt.asleep}
		tasksOf(&old, tt.old)
		tasksOf(&next, tt.new)
		old.Instances = len(old.Tasks) + len(old.Out) + tt.oldMissing
		next.Instances = len(next.Tasks) + len(next.Out) + tt.newMissing
		s := State{Group: "imp", Apps: []App{old, next}, Back: tt.back}
		p := s.Next(tt.options)
		if got := shownPlan(p); got != tt.want {
			t.Errorf("%s: %q, want %q (%v)", tt.name, got, tt.want, p.Waiting)
		}
		for _, c := range p.Changes {
			if c.Why == "" || slices.Contains(c.Kill, "") {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
	}
}

func TestNextOfOneAppAndOfThree(t *testing.T) {
	t.Parallel()
	at := func(hour int) time.Time { return time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC) }
	app := func(id string, hour int, tasks string) App {
		a := App{ID: id, StartedAt: at(hour), Target: 2}
		tasksOf(&a, tasks)
		a.Instances = len(a.Tasks)
		return a
	}
	one := State{Apps: []App{app("/a", 1, "h h")}}
	if got := shownPlan(one.Next(Options{})); got != "waits; done" {
		t.Error(got)
	}
	three := State{Apps: []App{app("/a", 1, "d0"), app("/b", 2, "d0 h"), app("/c", 3, "h")}}
	if got := shownPlan(three.Next(Options{})); got != "a 1>0 -a1, b 2>1 -b1, c 1>2" {
		t.Error(got)
	}
	three.Back = true
	p := three.Next(Options{})
	if got := shownPlan(p); got != "waits" || p.To != "/b" || !slices.Equal(p.From, []string{"/c"}) {
		t.Errorf("%s: %+v", got, p)
	}
}
