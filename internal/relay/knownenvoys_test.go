package relay

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
	"relay/internal/logtest"
	"relay/xds"
)

// known is what a run that reads the folder has of the Envoys of before, each with how long it has been away.
func known(t *testing.T, dir string, log *slog.Logger) (*Relay, string) {
	t.Helper()
	r := &Relay{config: &Config{State: State{Dir: dir}}, xds: &xds.Server{}, log: log}
	var err error
	if r.knownEnvoys, err = r.newKnownEnvoys(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for fleet, envoys := range (probing{r}).envoys() {
		for _, e := range envoys {
			all = append(all, fleet+"/"+e.ID+" "+e.Address+" "+time.Since(e.Disconnected).String())
		}
	}
	return r, strings.Join(all, ", ")
}

// An Envoy that is down when Relay is started anew is missed as before, for an hour after it was connected last.
func TestKnownEnvoys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
		r, got := known(t, dir, quiet)
		if got != "" {
			t.Errorf("at first: %s", got)
		}
		there := map[string][]api.ProbeEnvoy{"external": {{ID: "e1", Address: "10.0.0.1"}, {ID: "e2", Address: "10.0.0.2", Disconnected: time.Now().Add(-50 * time.Minute).UTC()}}}
		r.knownEnvoys.now = func() map[string][]api.ProbeEnvoy { return there }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.knownEnvoys.Serve(ctx) }()
		time.Sleep(knownSaved + 2*knownEvery) // saved at 5 s, and again when that is five minutes old
		stop()
		<-done
		time.Sleep(time.Minute)
		if _, got = known(t, dir, quiet); got != "external/e1 10.0.0.1 1m5s, external/e2 10.0.0.2 56m10s" {
			t.Errorf("after a restart: %s", got)
		}
		time.Sleep(10 * time.Minute)
		again, got := known(t, dir, quiet)
		if got != "external/e1 10.0.0.1 11m5s" {
			t.Errorf("after ten minutes: %s", got)
		}
		again.knownEnvoys.save(time.Now()) // what is away stays so over another restart
		time.Sleep(10 * time.Minute)
		if _, got = known(t, dir, quiet); got != "external/e1 10.0.0.1 21m5s" {
			t.Errorf("after another restart: %s", got)
		}
		time.Sleep(time.Hour)
		if _, got = known(t, dir, quiet); got != "" {
			t.Errorf("after more than an hour: %s", got)
		}
	})
}

// Without a file that can be used nothing is known, and Relay starts; what cannot be saved is said once.
func TestUnusableKnownEnvoys(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), new(logtest.Buffer)
	file := filepath.Join(dir, "envoys.state")
	if err := os.WriteFile(file, []byte("relay-state 1 odd"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, got := known(t, dir, slog.New(slog.NewTextHandler(log, nil)))
	if got != "" || len(log.Lines("event=envoys_unread")) != 1 {
		t.Errorf("%q, log:\n%s", got, log)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.knownEnvoys.save(time.Now())
	}
	if n := len(log.Lines("event=envoys_unsaved")); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log)
	}
	// One of a clock that was ahead is away for an hour from now on.
	ahead := t.TempDir()
	r, _ = known(t, ahead, slog.New(slog.DiscardHandler))
	r.knownEnvoys.now = func() map[string][]api.ProbeEnvoy { return map[string][]api.ProbeEnvoy{"external": {{ID: "e1"}}} }
	r.knownEnvoys.save(time.Now().Add(1000 * time.Hour))
	r, _ = known(t, ahead, slog.New(slog.DiscardHandler))
	if len(r.knownEnvoys.away(time.Now())) != 1 || len(r.knownEnvoys.away(time.Now().Add(knownFor+time.Minute))) != 0 {
		t.Errorf("%+v", r.knownEnvoys.before)
	}
}
