package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// Somebody follows an app: each of its requests comes, and none of others. Connections stay open,
// and when nobody follows any more, Envoy has what it had before, and reports nothing.
func TestTail(t *testing.T) {
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
