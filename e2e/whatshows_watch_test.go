package e2e

import (
	"cmp"
	"fmt"
	"html"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/statuspage"
)

// shownWatch notes when an alert fired, and a service of the status page changed, for the first time.
type shownWatch struct {
	s    *shownWorld
	mu   sync.Mutex
	seen map[string]time.Time
}

// watch notes until the test ends.
func (s *shownWorld) watch() *shownWatch {
	w := &shownWatch{s: s, seen: make(map[string]time.Time)}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			w.look()
			select {
			case <-stop:
				return
			case <-time.After(250 * time.Millisecond):
			}
		}
	}()
	s.t.Cleanup(func() { close(stop); <-ended })
	return w
}

// look asks once. What cannot be read now is read the next time.
func (w *shownWatch) look() {
	var keys []string
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	if w.s.prometheus.get("/api/v1/query", url.Values{"query": {`ALERTS{alertstate="firing", alertname!="RelayWatchdog"}`}}, &data) == nil {
		for _, r := range data.Result {
			m := r.Metric
			keys = append(keys, alertKey(m["alertname"], cmp.Or(m["app"], m["envoy"], m["name"], m["source"], m["fleet"], m["instance"])))
		}
	}
	states, err := w.s.public()
	if err == nil {
		for service, state := range states {
			if state != statuspage.Up {
				keys = append(keys, publicKey(service, state))
			}
		}
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if w.seen[key].IsZero() {
			w.seen[key] = now
		}
	}
}

func alertKey(name, of string) string { return "alert " + name + " " + of }

func publicKey(service string, state statuspage.State) string {
	return fmt.Sprintf("status page: %s is %s", service, state)
}

// at is when a key that begins so was seen; zero if it was not.
func (w *shownWatch) at(key string) (first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seen, at := range w.seen {
		if strings.HasPrefix(seen, key) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// unexpected are the keys that none of the rows has.
func (w *shownWatch) unexpected(rows []shownRow, also ...string) (keys []string) {
	expected := slices.Clone(also)
	for _, row := range rows {
		for _, a := range row.alerts {
			expected = append(expected, alertKey(a.name, a.of))
		}
		for service, state := range row.public {
			expected = append(expected, publicKey(service, state))
			if state == statuspage.Down { // one Envoy may see it before the other
				expected = append(expected, publicKey(service, statuspage.Degraded))
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(w.seen)) {
		if !slices.ContainsFunc(expected, func(one string) bool { return strings.HasPrefix(key, one) }) {
			keys = append(keys, key)
		}
	}
	return keys
}

// busy is how much longer all may take on a machine that has much to do.
const busy = time.Minute

// within waits until something was seen, and fails the test if that was too long after a time.
func (w *shownWatch) within(t *testing.T, key string, since time.Time, limit time.Duration) {
	t.Helper()
	for w.at(key).IsZero() {
		if time.Since(since) > limit {
			t.Errorf("%s: not within %s", key, limit)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := w.at(key).Sub(since)
	if took > limit {
		t.Errorf("%s: after %s, want %s", key, took.Round(time.Second), limit)
	}
	t.Logf("%s: after %s", key, took.Round(100*time.Millisecond))
}

var (
	noText = regexp.MustCompile(`(?s)<(?:script|style|svg)\b.*?</(?:script|style|svg)>|<[^>]*>`)
	space  = regexp.MustCompile(`\s+`)
)

// says reports whether a page of operators has the words, not far behind what they are of.
func (o shownOn) says(page string) bool {
	text := space.ReplaceAllString(html.UnescapeString(noText.ReplaceAllString(page, " ")), " ")
	return regexp.MustCompile(regexp.QuoteMeta(o.of) + ".{0,400}?" + regexp.QuoteMeta(o.words)).MatchString(text)
}

// check fails the test of a row whose trouble began at a time, if anything of it is not shown in time.
func (w *shownWatch) check(t *testing.T, row shownRow, since time.Time, rules map[string]ruleTimes) {
	for _, o := range row.page {
		limit := o.found.within(probesEveryHere) + busy
		for {
			_, body := w.s.admin.get(o.path)
			if o.says(body) {
				break
			}
			if time.Since(since) > limit {
				t.Errorf("%s does not say %q of %q within %s:\n%s", o.path, o.words, o.of, limit, space.ReplaceAllString(noText.ReplaceAllString(body, " "), " "))
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, a := range row.alerts {
		if !a.late {
			w.checkAlert(t, a, since, rules)
		}
	}
	for service, state := range row.public {
		w.within(t, publicKey(service, state), since, onPublicPage.within(probesEveryHere)+busy)
	}
}

func (w *shownWatch) checkAlert(t *testing.T, a shownAlert, since time.Time, rules map[string]ruleTimes) {
	t.Helper()
	w.within(t, alertKey(a.name, a.of), since, a.found.within(probesEveryHere)+rules[a.name].wait/quickerBy(rules[a.name].group)+busy)
}
