package marathon

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/sources/marathon/marathontest"
)

// People change an app between the read on which Relay decides and Relay's write. Whatever Relay
// overwrote is theirs again, and what it did not touch is no reason to complain.
func TestChangesInBetween(t *testing.T) {
	t.Parallel()
	sleeps, grows := sources.Rescale{Asleep: 2}, sources.Rescale{Instances: 4}
	for name, tt := range map[string]struct {
		people    string
		r         sources.Rescale
		changed   bool
		instances int
		labels    map[string]string
	}{
		"a label, and it sleeps":         {`{"id":"/web","labels":{"theirs":"yes"}}`, sleeps, true, 2, map[string]string{"theirs": "yes"}},
		"all labels gone, and it sleeps": {`{"id":"/web","labels":{}}`, sleeps, true, 2, map[string]string{}},
		"more instances, and it sleeps":  {`{"id":"/web","instances":5}`, sleeps, true, 5, labelled()},
		"suspended, and it sleeps":       {`{"id":"/web","instances":0}`, sleeps, true, 0, labelled()},
		"a command, and it sleeps":       {`{"id":"/web","cmd":"other"}`, sleeps, false, 0, labelled("RELAY_ASLEEP", "2")},
		"a label, and it grows":          {`{"id":"/web","labels":{"theirs":"yes"}}`, grows, false, 4, map[string]string{"theirs": "yes"}},
		"more instances, and it grows":   {`{"id":"/web","instances":7}`, grows, true, 7, labelled()},
		"as many, and it grows":          {`{"id":"/web","instances":4}`, grows, false, 4, labelled()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScaled(t, 2, webLabels)
			tt.r.Version = s.version()
			s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(tt.people) }})
			done, err := s.rescale(tt.r)
			if tt.changed != errors.Is(err, sources.ErrChanged) || !tt.changed && err != nil {
				t.Errorf("%+v, %v", done, err)
			}
			s.want(tt.instances, tt.labels)
			if err == nil && done.Version != s.version() {
				t.Errorf("version %s, and the app has %s", done.Version, s.version())
			}
		})
	}
}

// People suspend an app that sleeps at the moment in which it wakes.
func TestSuspendedWhileWaking(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 0, `{"RELAY_ASLEEP":"2","team":"shop"}`)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","labels":{"team":"shop"}}`) }})
	if _, err := s.rescale(sources.Rescale{Version: version, Instances: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Error(err)
	}
	s.want(0, map[string]string{"team": "shop"})
}

// People wake an app by hand at the moment in which Relay does: that is no conflict.
func TestWokenByHandWhileWaking(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 0, `{"RELAY_ASLEEP":"2"}`)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","instances":2}`) }})
	if _, err := s.rescale(sources.Rescale{Version: version, Instances: 2}); err != nil {
		t.Error(err)
	}
	s.want(2, map[string]string{})
}

// People suspend an app at the moment in which it is put to sleep, and an old label is left there.
func TestSuspendedWithALabelThatIsLeft(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, `{"RELAY_ASLEEP":"2","team":"shop"}`)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","instances":0}`) }})
	if _, err := s.rescale(sources.Rescale{Version: version, Asleep: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Error(err)
	}
	if s.want(0, map[string]string{"team": "shop"}); asleepOf(s.now()) != 0 {
		t.Error("it counts as asleep")
	}
}

// People scale an app down at the moment in which Relay does: there shall be as many as they say.
func TestShrunkByPeopleToo(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 4, webLabels)
	// For people, Marathon takes the youngest one.
	version, oldest := s.version(), slices.MinFunc(s.Tasks("/web"), func(a, b marathontest.Task) int { return strings.Compare(a.StartedAt, b.StartedAt) })
	s.Inject(marathontest.KindKill, marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","instances":3}`) }})
	if _, err := s.rescale(sources.Rescale{Version: version, Instances: 3, Kill: []string{oldest.ID}}); !errors.Is(err, sources.ErrChanged) {
		t.Error(err)
	}
	s.want(3, labelled())
}

// An app that wakes and gets a label at the same moment sleeps again, with the label.
func TestLabelWhileWaking(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 0, `{"RELAY_ASLEEP":"2"}`)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","labels":{"RELAY_ASLEEP":"2","theirs":"yes"}}`) }})
	if _, err := s.rescale(sources.Rescale{Version: version, Instances: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Fatal(err)
	}
	s.want(0, map[string]string{"RELAY_ASLEEP": "2", "theirs": "yes"})
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2}); err != nil {
		t.Fatal(err)
	}
	s.want(2, map[string]string{"theirs": "yes"})
}

// People change the app again while their first change is put back.
func TestChangesAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() {
		s.people(`{"id":"/web","labels":{"first":"yes"}}`)
		s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { // of what puts it back
			s.WaitIdle(t.Context())
			s.people(`{"id":"/web","labels":{"second":"yes"},"instances":3}`)
		}})
	}})
	if _, err := s.rescale(sources.Rescale{Version: version, Asleep: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Fatal(err)
	}
	s.want(3, map[string]string{"second": "yes"})
}

// What people set after Relay's change, which they have seen, is theirs, and nothing is put back over it.
func TestChangeAfterwards(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	version := s.version()
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() { s.people(`{"id":"/web","labels":{"first":"yes"}}`) }})
	s.Inject(marathontest.KindVersions, marathontest.Fault{Times: 1, Before: func() {
		idle(t, s.Server)
		s.people(`{"id":"/web","instances":5}`)
	}})
	if _, err := s.rescale(sources.Rescale{Version: version, Asleep: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Fatal(err)
	}
	if a := s.now(); a.Instances != 5 {
		t.Errorf("%d instances", a.Instances)
	}
}

// Two Relays wake an app at the same moment: both succeed, and it is woken once.
func TestTwoRelaysWakeIt(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 0, `{"RELAY_ASLEEP":"2"}`)
	version := s.version()
	other := scalerOf(t, Config{URLs: []string{s.URL()}})
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Times: 1, Before: func() {
		if _, err := other.Rescale(t.Context(), sources.Rescale{App: "/web", Version: version, Instances: 2}); err != nil {
			t.Error(err)
		}
	}})
	if _, err := s.rescale(sources.Rescale{Version: version, Instances: 2}); err != nil {
		t.Error(err)
	}
	s.want(2, map[string]string{})
	if n := len(s.Tasks("/web")); n != 2 {
		t.Errorf("%d tasks", n)
	}
}

// Without an answer to whether somebody came in between, nobody is told that all is well.
func TestVersionsCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	s.Inject(marathontest.KindVersions, marathontest.Fault{Status: 500, Times: settleTries - 1})
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Asleep: 2}); err != nil {
		t.Error(err)
	}
	idle(t, s.Server)
	s.Inject(marathontest.KindVersions, marathontest.Fault{Status: 500})
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2}); err == nil || !strings.Contains(err.Error(), "it is done, but") {
		t.Error(err)
	}
}

// A standby that redirects gets the change to the leader as it is, with the credentials only where
// they may go.
func TestWritesFollowTheLeader(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Credentials: "writer:hunter2"})
	load(t, m, "/web")
	redirects := func(to string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to+r.URL.RequestURI())
			w.WriteHeader(http.StatusFound)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	own := Credentials{User: "writer", PasswordFile: write(t, "password", "hunter2\n")}
	s := scalerOf(t, Config{URLs: []string{withUser(t, "http://127.0.0.1:1", "reader", "secret-of-reader"), withUser(t, redirects(m.URL()), "reader", "secret-of-reader")}, TrustedHosts: []string{"127.0.0.1"}, Write: own})
	version := func() string {
		_, app, err := s.read(t.Context(), "/web")
		if err != nil {
			t.Fatal(err)
		}
		return app.Version
	}
	if _, err := s.Rescale(t.Context(), sources.Rescale{App: "/web", Version: version(), Instances: 3}); err != nil {
		t.Fatal(err)
	}
	idle(t, m)

	// A stranger who takes part in neither sees no change, and no credentials.
	var seen []http.Header
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen = append(seen, maps.Clone(r.Header)); r.Method != http.MethodGet {
			t.Errorf("the stranger is asked to %s", r.Method)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"app":` + string(m.AppJSON("/web")) + `}`))
	}))
	t.Cleanup(stranger.Close)
	astray := scalerOf(t, Config{URLs: []string{redirects(stranger.URL)}, Write: own})
	_, err := astray.Rescale(t.Context(), sources.Rescale{App: "/web", Version: version(), Instances: 1})
	if err == nil || !strings.Contains(err.Error(), "--marathon-trusted-hosts") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	for _, header := range seen {
		if header.Get("Authorization") != "" {
			t.Error("the stranger got credentials")
		}
	}
}

// Errors name what was tried and what to do, and no secret.
func TestWriteErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Credentials: "writer:other"})
	s := scalerOf(t, Config{URLs: []string{withUser(t, m.URL(), "relay", "hunter2")}})
	_, err := s.Rescale(t.Context(), sources.Rescale{App: "/web", Version: "x", Instances: 1})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "check the credentials") || !strings.Contains(err.Error(), "/web") {
		t.Error(err)
	}
	if _, err := NewScaler(Config{URLs: []string{m.URL()}, Write: Credentials{User: "x"}}); err == nil {
		t.Error("a user without a password is taken")
	}
	silent := scalerOf(t, Config{URLs: []string{withUser(t, m.URL(), "writer", "other")}, HeaderTimeout: 20 * time.Millisecond})
	m.Inject(marathontest.ReadOf("/web"), marathontest.Fault{Hang: true})
	if _, err := silent.Rescale(t.Context(), sources.Rescale{App: "/web", Version: "x", Instances: 1}); err == nil || strings.Contains(err.Error(), "other@") {
		t.Error(err)
	}
}

// A change that certainly was not made is told from one of which that is not known.
func TestUntouched(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	version := s.version()
	for status, untouched := range map[int]bool{401: true, 403: true, 422: true, 429: true, 408: false, 500: false, 504: false} {
		remove := s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Status: status, Body: `{"message":"no"}`})
		_, err := s.rescale(sources.Rescale{Version: version, Asleep: 2})
		if err == nil || errors.Is(err, sources.ErrUntouched) != untouched {
			t.Errorf("status %d: %v", status, err)
		}
		remove()
	}
	if _, err := s.Scaler.Rescale(t.Context(), sources.Rescale{App: "/web/tasks", Version: version, Asleep: 2}); !errors.Is(err, sources.ErrUntouched) {
		t.Errorf("an id that cannot be changed: %v", err)
	}
	s.Server.Down()
	if _, err := s.rescale(sources.Rescale{Version: version, Asleep: 2}); !errors.Is(err, sources.ErrUntouched) {
		t.Errorf("Marathon is away: %v", err)
	}
}
