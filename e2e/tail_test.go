package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
	"relay/xds/envoytest"
)

// Somebody follows an app: each of its requests comes, and none of others. Connections stay open,
// and when nobody follows any more, Envoy has what it had before, and reports nothing.
func TestTail(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			w := newWorld(t)
			w.envoy.version = version
			w.marathon.deploy(app("/shop", "shop.test", 1), app("/other", "other.test", 1),
				app("/part", "shop.test", 1, "HAPROXY_0_PATH", "/part"), app("/wild", "*.wild.test", 1))
			w.start()
			for name, by := range map[string]string{"shop.test/": "/shop", "shop.test/part": "/part", "other.test/": "/other"} {
				w.clients.expect("http://"+name, http.StatusOK, by)
			}
			wildcards := !slices.Contains([]string{"1.36", "1.37"}, version) // which do not route them
			if wildcards {
				w.clients.expect("http://a.wild.test/", http.StatusOK, "/wild")
			}
			w.admin.settled()
			before, listeners := w.envoy.scopes(), w.envoy.listeners()
			socket := w.clients.echo("ws://shop.test/ws")
			f := w.admin.follow("/shop", "")
			if f.first.State != api.TailOn || f.first.Envoys != 1 {
				t.Fatalf("it begins with %+v", f.first)
			}
			if n := strings.Count(w.envoy.scopes(), "relay.tail"); n != 1 {
				t.Errorf("%d routes are tailed", n)
			}
			for _, other := range []string{"other.test/no", "shop.test/part/no", "a.wild.test/no"} {
				w.clients.do("http://" + other)
			}
			w.clients.do("http://shop.test/orders/17?token=secret", "User-Agent", "curl/8", "Authorization", "Bearer secret")
			got := f.next()
			if got.App != "/shop" || got.Domain != "shop.test" || got.Method != "GET" || got.Path != "/orders/17?…" || got.Status != 200 ||
				got.Client != "127.0.0.1" || got.Instance != w.marathon.address("/shop") || got.UserAgent != "curl/8" || got.Fleet != "external" ||
				got.Envoy == "" || got.RequestID == "" || got.Duration <= 0 || got.BytesOut == 0 || got.Code != "" {
				t.Errorf("got %+v", got)
			}
			testOtherTails(t, w, wildcards)
			w.clients.says(socket, "still here")
			f.stop()
			w.eventually("Envoy has what it had", func() error {
				if w.envoy.scopes() != before {
					return errors.New("the scopes differ")
				}
				return nil
			})
			written := w.envoy.stat(`^access_logs\.grpc_access_log\.logs_written$`)
			w.clients.do("http://shop.test/after")
			if n := w.envoy.stat(`^access_logs\.grpc_access_log\.logs_written$`); n != written {
				t.Errorf("%d entries are reported after the last reader has gone", n-written)
			}
			w.clients.says(socket, "and here")
			w.envoy.accepted()
			if after := w.envoy.listeners(); after != listeners {
				t.Errorf("listeners changed: %s", after)
			}
			if log := w.relay.log.String(); strings.Contains(log, "token=secret") || !strings.Contains(log, "event=tail_started") || !strings.Contains(log, "event=tail_ended") {
				t.Error("the log does not say who followed, or says what nobody may know")
			}
		})
	}
}

// testOtherTails follows domains, beside the app.
func testOtherTails(t *testing.T, w *world, wildcards bool) {
	t.Helper()
	domain := w.admin.follow("shop.test", "&unmasked=true")
	w.clients.do("http://other.test/no")
	w.clients.do("http://shop.test/part/x?y=z")
	if got := domain.next(); got.App != "/part" || got.Path != "/part/x?y=z" {
		t.Errorf("of the domain: %+v", got)
	}
	domain.stop()
	if !wildcards {
		return
	}
	host := w.admin.follow("b.wild.test", "")
	w.clients.do("http://a.wild.test/no")
	w.clients.do("http://B.Wild.test/yes")
	if got := host.next(); got.App != "/wild" || got.Path != "/yes" || got.Domain != "b.wild.test" {
		t.Errorf("of a host below a wildcard: %+v", got)
	}
	host.stop()
}

// What cannot be followed is refused at once, with what is near it, or why.
func TestTailIsRefused(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/shop", "shop.test", 1))
	w.marathon.service("/db", []string{"127.0.0.1:1"}, modeLabel, "tcp", portLabel, "5432")
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")
	before := w.envoy.scopes()
	for subject, want := range map[string]string{
		"/shop": "", "shop": "", "shop.test": "", "SHOP.test.": "", "/shap": "near it: /shop", "shop.tset": "shop.test", "/db": "TCP services are not followed", "tcp/5432": "TCP services are not followed",
	} {
		if want == "" {
			w.admin.follow(subject, "").stop()
			continue
		}
		status, body := w.admin.get("/api/v1/tail?subject=" + url.QueryEscape(subject))
		if status != http.StatusNotFound && status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", subject, status, body)
		}
	}
	w.eventually("nothing is left", func() error {
		if after := w.envoy.scopes(); after != before {
			return errors.New("the scopes differ")
		}
		return nil
	})
	if problems := w.admin.problems(); slices.ContainsFunc(problems, func(p problem.Problem) bool { return p.App == "/shop" }) {
		t.Errorf("to follow is a problem: %v", problems)
	}
}

// The app stays followed while one of two readers does, and gets what is new. A Relay that stops
// ends it, and the next one takes what Envoy has of it away.
func TestTailOfSeveralReaders(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/shop", "shop.test", 1))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")
	w.admin.settled()
	first, second := w.admin.follow("/shop", ""), w.admin.follow("/shop", "&unmasked=true")
	w.clients.do("http://shop.test/both?x=y")
	if a, b := first.next(), second.next(); a.Path != "/both?…" || b.Path != "/both?x=y" {
		t.Errorf("they get %s and %s", a.Path, b.Path)
	}
	first.stop()
	w.clients.do("http://shop.test/second")
	if got := second.next(); got.Path != "/second" {
		t.Errorf("the second gets %s", got.Path)
	}
	w.marathon.deploy(app("/shop", "shop.test,new.test", 1))
	w.clients.expect("http://new.test/new", http.StatusOK, "/shop")
	for got := second.next(); got.Domain != "new.test" || got.Path != "/new"; got = second.next() {
	}
	// Nobody reads, and nobody waits for it.
	lazy := w.admin.follow("/shop", "")
	defer lazy.stop()
	w.marathon.deploy(app("/shop", "shop.test", 1))
	w.admin.settled()
	w.relay.stop()
	if n := second.notice(); n.State != api.TailEnded || !strings.Contains(n.Text, "Relay stops") {
		t.Errorf("the last notice is %+v", n)
	}
	if tailed := strings.Count(w.envoy.scopes(), "relay.tail"); tailed != 1 {
		t.Errorf("%d routes are tailed while Relay is away", tailed)
	}
	w.relay.start()
	w.eventually("the next Relay ends it", func() error {
		if n := strings.Count(w.envoy.scopes(), "relay.tail"); n > 0 {
			return fmt.Errorf("%d routes are tailed", n)
		}
		return nil
	})
	w.envoy.accepted()
}

// To follow an app begins within 50 ms, in the middle of the tries. The log has the figures.
func TestTailIsQuick(t *testing.T) {
	const tries, promised = 100, 50 * time.Millisecond
	w := newWorldAlone(t)
	w.marathon.deploy(app("/shop", "shop.test", 1))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")
	w.admin.settled()
	var on, shown []time.Duration
	client := w.clients.client(true)
	for range tries {
		f := w.admin.follow("/shop", "")
		if f.first.State != api.TailOn {
			t.Fatalf("it begins with %+v", f.first)
		}
		on = append(on, f.took)
		began := time.Now()
		if _, err := w.clients.get(client, "http://shop.test/now", ""); err != nil {
			t.Fatal(err)
		}
		f.next()
		shown = append(shown, time.Since(began))
		f.stop()
	}
	slices.Sort(on)
	slices.Sort(shown)
	t.Logf("on after %v (p50), %v (p99); a request is shown after %v (p50), %v (p99)", on[tries/2], on[tries-1-tries/100], shown[tries/2], shown[tries-1-tries/100])
	if on[tries/2] > promised {
		t.Errorf("it takes %v until all Envoys report", on[tries/2])
	}
}
