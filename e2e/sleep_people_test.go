package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// asleep is a world with an app that sleeps, which had 2 instances.
func asleep(t *testing.T, boot time.Duration, labels ...string) *world {
	t.Helper()
	w := sleeping(t, boot, append([]string{"OWNER", "shop"}, labels...)...)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	return w
}

// sleepyLabels is a change of all labels of the app, as people write it.
func sleepyLabels(labels ...string) string {
	var all []string
	for i := 0; i+1 < len(labels); i += 2 {
		all = append(all, fmt.Sprintf("%q:%q", labels[i], labels[i+1]))
	}
	return `{"labels":{"HAPROXY_GROUP":"external",` + strings.Join(all, ",") + `}}`
}

// tells waits until the app that sleeps is answered for by a code of Relay.
func (w *world) tells(host, code string) {
	w.t.Helper()
	w.eventually(host+" is "+code, func() error {
		if a := w.clients.do("http://" + host + "/"); a.header.Get("X-Relay-Error") != code {
			return fmt.Errorf("%d %v", a.status, a.header)
		}
		return nil
	})
}

// What people change of an app that sleeps holds, whatever Relay does with it after.
func TestChangedByPeopleWhileAsleep(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(w *world)
		then   func(w *world)
		writes int // of Relay
	}{
		"labels": {
			change: func(w *world) {
				w.people(http.MethodPut, "/sleepy", sleepyLabels("HAPROXY_0_VHOST", "other.test", "RELAY_IDLE_AFTER", "1h", "RELAY_ASLEEP", "3", "OWNER", "people"))
				w.tells("sleepy.test", "no-such-domain")
			},
			then: func(w *world) {
				w.clients.tasks("http://other.test/", 3, "")
				w.has("/sleepy", 3, "")
				if owner := w.written("/sleepy").Labels["OWNER"]; owner != "people" {
					w.t.Errorf("OWNER is %q", owner)
				}
			},
			writes: 1,
		},
		"instances": {
			change: func(w *world) { w.people(http.MethodPut, "/sleepy", `{"instances":3}`) },
			then: func(w *world) {
				w.clients.tasks("http://sleepy.test/", 3, "")
				w.phase("/sleepy", api.PhaseAwake)
				w.people(http.MethodPut, "/sleepy", `{"instances":0}`) // with RELAY_ASLEEP, which nobody took off
				w.tells("sleepy.test", "offline")
				if n := w.written("/sleepy").Instances; n != 0 {
					w.t.Errorf("people have suspended it, and it has %d instances", n)
				}
			},
		},
		"RELAY_ASLEEP taken off": {
			change: func(w *world) {
				w.people(http.MethodPut, "/sleepy", sleepyLabels("HAPROXY_0_VHOST", "sleepy.test", "RELAY_IDLE_AFTER", "30m", "OWNER", "shop"))
			},
			then: func(w *world) {
				w.tells("sleepy.test", "offline")
				w.has("/sleepy", 0, "")
			},
		},
		"it is not to sleep any more": {
			change: func(w *world) {
				w.people(http.MethodPut, "/sleepy", sleepyLabels("HAPROXY_0_VHOST", "sleepy.test", "RELAY_ASLEEP", "2", "OWNER", "people"))
			},
			then: func(w *world) {
				w.clients.tasks("http://sleepy.test/", 2, "")
				w.has("/sleepy", 2, "")
			},
			writes: 1,
		},
		"it is deleted": {
			change: func(w *world) { w.people(http.MethodDelete, "/sleepy", "") },
			then: func(w *world) {
				w.tells("sleepy.test", "no-such-domain")
				w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, map[string]string{"RELAY_IDLE_AFTER": "30m", "OWNER": "new"}))
				w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
				w.has("/sleepy", 1, "")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := asleep(t, 50*time.Millisecond)
			tt.change(w)
			tt.then(w)
			if n := w.writes("/sleepy") - w.byPeople; n != tt.writes {
				t.Errorf("Relay wrote %d times, want %d", n, tt.writes)
			}
			w.envoy.nothingRejected()
		})
	}
}

// What people change of an app that wakes holds, and who waits gets an answer.
func TestChangedByPeopleWhileWaking(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(w *world)
		status int
		code   string
		then   func(w *world)
	}{
		"labels": {
			change: func(w *world) {
				w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
				w.people(http.MethodPut, "/sleepy", sleepyLabels("HAPROXY_0_VHOST", "sleepy.test", "RELAY_IDLE_AFTER", "1h", "OWNER", "people"))
			},
			status: http.StatusOK,
			then: func(w *world) {
				w.has("/sleepy", 2, "")
				if owner := w.written("/sleepy").Labels["OWNER"]; owner != "people" {
					w.t.Errorf("OWNER is %q", owner)
				}
			},
		},
		"instances": {
			change: func(w *world) {
				w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
				w.people(http.MethodPut, "/sleepy", `{"instances":4}`)
			},
			status: http.StatusOK,
			then:   func(w *world) { w.has("/sleepy", 4, "") },
		},
		"it is deleted": {
			change: func(w *world) { w.people(http.MethodDelete, "/sleepy", "") },
			status: http.StatusServiceUnavailable, code: "starting", // its route was there when the request came
			then: func(w *world) { w.tells("sleepy.test", "no-such-domain") },
		},
		"its domain is another one": {
			change: func(w *world) {
				w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
				w.people(http.MethodPut, "/sleepy", sleepyLabels("HAPROXY_0_VHOST", "other.test", "RELAY_IDLE_AFTER", "1h", "OWNER", "people"))
			},
			status: http.StatusOK,
			then:   func(w *world) { w.clients.expect("http://other.test/", http.StatusOK, "/sleepy") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := asleep(t, time.Hour)
			a := w.ask(http.MethodGet, nil)
			w.eventually("a task starts", func() error {
				if len(w.marathon.Tasks("/sleepy")) == 0 {
					return errors.New("none")
				}
				return nil
			})
			w.held(1)
			tt.change(w)
			got := <-a
			got.is(t, "what waited", tt.status, tt.code)
			tt.then(w)
			w.envoy.nothingRejected()
		})
	}
}

// A change of people between the moment that Relay reads an app and the one that it puts it to sleep holds.
func TestChangedByPeopleWhileFallingAsleep(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(w *world) error
		then   func(w *world) error
	}{
		"labels": {
			change: func(w *world) error {
				return w.marathon.Apply(w.dozer("/sleepy", "sleepy.test", "OWNER", "people", "RELAY_IDLE_AFTER", "1h"))
			},
			then: func(w *world) error {
				w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
				if app := w.written("/sleepy"); app.Labels["OWNER"] != "people" || app.Labels["RELAY_IDLE_AFTER"] != "1h" || app.Instances != 2 {
					return fmt.Errorf("%+v", app)
				}
				return nil
			},
		},
		"instances": {
			change: func(w *world) error { return w.marathon.Apply(`{"id":"/sleepy","instances":4}`) },
			then: func(w *world) error {
				w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
				if app := w.written("/sleepy"); app.Instances != 4 {
					return fmt.Errorf("%+v", app)
				}
				return nil
			},
		},
		"suspended": {
			change: func(w *world) error { return w.marathon.Apply(`{"id":"/sleepy","instances":0}`) },
			then: func(w *world) error {
				w.tells("sleepy.test", "offline")
				if app := w.written("/sleepy"); app.Instances != 0 {
					return fmt.Errorf("%+v", app)
				}
				return nil
			},
		},
		"it is deleted": {
			change: func(w *world) error { return w.marathon.DeleteApp("/sleepy") },
			then:   func(w *world) error { w.tells("sleepy.test", "no-such-domain"); return nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := dozing(t)
			changed := make(chan error, 1)
			w.marathon.Inject(writeOf("/sleepy"), before(func() {
				err := tt.change(w)
				w.marathon.idle() // else Marathon would refuse what Relay writes
				changed <- err
			}))
			w.startOften()
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			w.eventually("people's change holds", func() error { return tt.then(w) })
			w.marathon.idle()
			if err := tt.then(w); err != nil {
				t.Errorf("in the end: %v", err)
			}
		})
	}
}

// While somebody's deployment runs, Relay puts nothing to sleep.
func TestNotAsleepWhileDeployed(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test", "RELAY_IDLE_AFTER", "2s"))
	w.startOften()
	w.marathon.SetBoot("/sleepy", time.Hour)
	if err := w.marathon.Apply(w.dozer("/sleepy", "sleepy.test", "RELEASE", "2")); err != nil {
		t.Fatal(err)
	}
	w.awakeFor("/sleepy", 5*time.Second, "a deployment is running")
	w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
}
