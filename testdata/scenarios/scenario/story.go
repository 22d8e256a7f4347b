package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// Tell tells the story of a scenario, and returns what did not hold.
func Tell(ctx context.Context, s *Scenario, settings Settings) error {
	r, err := Start(ctx, s, settings)
	defer r.Stop()
	if err == nil {
		err = r.try(s.Story)
	}
	if err == nil {
		r.Say("the end: all held")
		return nil
	}
	return fmt.Errorf("%s, step %d: %w\n%s", s.Name, r.steps, err, r.logs())
}

// broken is what a story that does not hold panics with.
type broken struct{ error }

// try runs a part of the story. What is run there may call the functions that fail it.
func (r *Run) try(part func(*Run)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			b, ok := v.(broken)
			if !ok {
				panic(v)
			}
			err = b.error
		}
	}()
	part(r)
	return r.ended()
}

// Say prints a line.
func (r *Run) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.settings.Out, "%-13s| %s\n", r.scenario.Name, fmt.Sprintf(format, args...))
}

// Step begins the next part of the story, with a sentence.
func (r *Run) Step(sentence string) {
	r.steps++
	r.Say("%d. %s", r.steps, sentence)
}

// Check fails the story unless something held, with what was seen.
func (r *Run) Check(held bool, format string, seen ...any) {
	if !held {
		panic(broken{fmt.Errorf(format, seen...)})
	}
}

// Must fails the story if there is an error.
func (r *Run) Must(err error) {
	if err != nil {
		panic(broken{err})
	}
}

// Eventually waits until check is content, and fails the story if it never is.
func (r *Run) Eventually(what string, check func() error) { r.Must(r.await(what, check)) }

// Go runs a client that goes on until the context ends, which is that of the run.
func (r *Run) Go(client func(ctx context.Context)) {
	r.clients.Go(func() { client(r.ctx) })
}

// Pause waits, unless the context ends: then it returns false.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Tasks are the ids of the tasks of an app that run, and are not told to end.
func (r *Run) Tasks(app string) []string {
	var ids []string
	for _, t := range r.Marathon.Tasks(app) {
		if t.State == "TASK_RUNNING" {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// Scale sets how many instances an app has, and returns when that is so.
func (r *Run) Scale(app string, instances int) error {
	if err := r.Marathon.Apply(fmt.Sprintf(`{"id": %q, "instances": %d}`, app, instances)); err != nil {
		return err
	}
	return r.idle()
}

// Release deploys an app anew, and returns when all old tasks are gone.
func (r *Run) Release(app string) error {
	if err := r.Marathon.Restart(app); err != nil {
		return err
	}
	return r.idle()
}

// Replace ends a task at once, and returns when another one runs in its place, healthy.
func (r *Run) Replace(app, task string) error {
	if err := r.Crash(task); err != nil {
		return err
	}
	return r.await("another task of "+app, func() error {
		var definition struct {
			App struct {
				Instances    int
				TasksHealthy int
			}
		}
		if err := r.get(r.Marathon.URL()+"/v2/apps"+app, &definition); err != nil {
			return err
		}
		if definition.App.TasksHealthy != definition.App.Instances {
			return fmt.Errorf("%d of %d are healthy", definition.App.TasksHealthy, definition.App.Instances)
		}
		return nil
	})
}

// Crash ends a task at once, as if it had been killed.
func (r *Run) Crash(task string) error { return r.Marathon.Crash(task) }

// RestartRelay stops Relay, and starts another one. It returns when Envoy is connected to that.
func (r *Run) RestartRelay() error {
	r.StopRelay()
	return r.StartRelay()
}

// StopRelay stops Relay.
func (r *Run) StopRelay() {
	r.parts.Lock()
	before := r.bed.Relay
	r.bed.Relay = nil
	r.parts.Unlock()
	before.Stop()
}

// StartRelay starts one when it was stopped. It returns when an Envoy is connected to that.
func (r *Run) StartRelay() error {
	if err := r.launchRelay(); err != nil {
		return err
	}
	return r.await("the new Relay", func() error {
		var envoys struct {
			Envoys []struct{ Connected, Disconnected time.Time }
		}
		if err := r.API("/api/v1/envoys", &envoys); err != nil {
			return err
		}
		for _, e := range envoys.Envoys {
			if !e.Connected.IsZero() && e.Disconnected.IsZero() {
				return nil
			}
		}
		return fmt.Errorf("no Envoy is connected: %+v", envoys)
	})
}

// API reads a path of Relay's API.
func (r *Run) API(path string, into any) error { return r.get("http://"+r.admin+path, into) }

// ReadCertificates has Relay look at the certificate directory now.
func (r *Run) ReadCertificates() error {
	resp, err := http.Post("http://"+r.admin+"/_mlb_signal/usr1", "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the hook answered %s", resp.Status)
	}
	return nil
}

// get reads JSON, or nothing.
func (r *Run) get(url string, into any) error {
	ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// logs are the last lines of Relay and Envoy.
func (r *Run) logs() string {
	var b strings.Builder
	for _, name := range []string{"relay", "envoy"} {
		text, err := os.ReadFile(r.bed.Dir + "/" + name + ".log")
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "the last lines of %s:\n  %s\n", name, strings.Join(lines[max(0, len(lines)-25):], "\n  "))
	}
	return b.String()
}

// Context is that of the run.
func (r *Run) Context() context.Context { return r.ctx }
