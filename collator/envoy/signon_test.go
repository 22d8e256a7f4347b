package envoy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// What an app says that refuses a request of another one is the client's: status, headers and body, also beside a password that
// Relay checks, which has Envoy's own page. Faults of it have that, too. Envoys that know no filters of routes let in nobody.
func TestWhatAskedAppsSay(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			sso := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Relay-Error", "crashed")
				w.Header().Set("Content-Type", "text/html; charset=utf-16")
				switch r.Header.Get("X-Forwarded-Uri") {
				case "/form":
					w.WriteHeader(http.StatusUnauthorized)
				case "/teapot":
					w.WriteHeader(http.StatusTeapot)
				case "/long":
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, strings.Repeat("x", 1000))
				case "/fault":
					w.WriteHeader(http.StatusInternalServerError)
				default:
					return
				}
				_, _ = io.WriteString(w, "<form>100 %s %REQ(:path)%</form>")
			}))
			t.Cleanup(sso.Close)
			e := startVersion(t, version)
			asked := changed(e.app("/shop/sso"), func(p *sources.Port) {
				p.Endpoints = []sources.Endpoint{{Task: "sso", Address: netip.MustParseAddrPort(sso.Listener.Addr().String())}}
			})
			ask := func(app *sources.App) *sources.App {
				return changed(app, func(p *sources.Port) {
					h := sources.HTTP{}
					if p.HTTP != nil {
						h = *p.HTTP
					}
					h.SignOn = &sources.SignOn{App: &sources.AuthApp{AppRef: sources.AppRef{App: "/shop/sso"}}}
					p.HTTP = &h
				})
			}
			e.c.SyncApps([]*sources.App{
				asked, ask(e.app("/shop/web", "web.test")), ask(e.withUsers(e.app("/shop/both", "both.test"), "joe", sha512Secret)), e.app("/open", "open.test"),
			})
			e.eventually(t, request{host: "open.test", path: "/"}, fromApp("/open"))
			if !knowsChains(version) {
				e.eventually(t, request{host: "web.test", path: "/"}, status(http.StatusForbidden))
				return
			}
			e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/shop/web"))
			e.eventually(t, request{host: "both.test", path: "/", header: login("joe", "secret")}, fromApp("/shop/both"))
			const form = "<form>100 %s %REQ(:path)%</form>"
			for _, tt := range []struct {
				host, path, login string
				status            int
				code, body        string
			}{
				{"web.test", "/form", "", http.StatusUnauthorized, "other", form},
				{"Web.Test.", "/form", "", http.StatusUnauthorized, "other", form},
				{"web.test", "/teapot", "", http.StatusTeapot, "other", form},
				{"web.test", "/long", "", http.StatusForbidden, "other", strings.Repeat("x", 1000) + form},
				{"web.test", "/fault", "", http.StatusServiceUnavailable, "overloaded", "<!doctype html>"},
				{"both.test", "/form", "secret", http.StatusUnauthorized, "other", form},
				{"both.test", "/form", "wrong", http.StatusUnauthorized, "unauthorized", "<!doctype html>"},
			} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.fleet.HTTP.String()+tt.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = tt.host
				if tt.login != "" {
					req.Header = login("joe", tt.login)
				}
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				own := strings.HasPrefix(tt.body, "<!doctype")
				if err != nil || resp.StatusCode != tt.status || strings.Join(resp.Header["X-Relay-Error"], "|") != tt.code || !own && string(body) != tt.body ||
					own != strings.HasPrefix(string(body), "<!doctype") || own == (resp.Header.Get("Content-Type") == "text/html; charset=utf-16") {
					t.Errorf("%s%s %s: status %d, %v, %v, %.200q", tt.host, tt.path, tt.login, resp.StatusCode, err, resp.Header, body)
				}
			}
		})
	}
}
