package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/sources/marathon/marathontest"
)

// diagnosis is a domain that does not work, and what tells people why.
type diagnosis struct {
	name   string
	domain string
	// fail starts the world, and makes the domain fail.
	fail func(w *world)
	// request is a URL that visitors ask for meanwhile, if they do.
	request string
	// first is on the first screen: in the page, and in "relay status". why is in the first
	// that is said of the domain: in its page, and by "relay domain". All texts have to be there.
	first, why []string
}

// diagnoses are the usual reasons for which a domain does not work.
var diagnoses = []diagnosis{
	{
		name: "typo", domain: "typo.test",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/typo", "other.test", 1, "HAPROXY_0_VHOSTS", "typo.test"))
		},
		first: []string{"/typo", "did you mean HAPROXY_0_VHOST?"}, why: []string{"/typo", "HAPROXY_0_VHOSTS", "HAPROXY_0_VHOST is likely meant", "correct the labels"},
	},
	{
		name: "name mistyped", domain: "sede.test", request: "http://sede.test/",
		fail: func(w *world) {
			w.start()
			w.clients.expect("http://seed.test/", http.StatusOK, "/seed")
		},
		first: []string{"no-such-domain", "sede.test"}, why: []string{"near it: seed.test"},
	},
	{
		name: "taken", domain: "taken.test",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/owner", "taken.test", 1), app("/rival", "taken.test", 1))
		},
		first: []string{"/rival: taken.test", "port 0 of /owner has it"}, why: []string{"/rival does not get it", "port 0 of /owner has it", "another domain or path"},
	},
	{
		name: "no healthy task", domain: "ill.test", request: "http://ill.test/",
		fail: func(w *world) {
			w.marathon.deploy(strings.TrimSuffix(app("/ill", "ill.test", 1), "}") + `,"healthChecks":[{"protocol":"MESOS_HTTP","path":"/health","portIndex":0}]}`)
			if err := w.marathon.SetHealth(w.marathon.taskIDs("/ill")[0], false); err != nil {
				w.t.Fatal(err)
			}
			w.start()
		},
		first: []string{"/ill: port 0", "no task is in rotation", "fails a health check"}, why: []string{"No task of /ill is in rotation", "fails a health check", "health checks and log"},
	},
	{
		name: "tasks refuse connections", domain: "dead.test", request: "http://dead.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.service("/dead", []string{freeAddress(w.t)}, "HAPROXY_0_VHOST", "dead.test")
		},
		first: []string{"/dead: port 0", "could not connect", "Connection refused"}, why: []string{"No task of /dead takes connections", "127.0.0.1:", "Connection refused", "listens on that address and port"},
	},
	{
		name: "app answers 500", domain: "broken.test", request: "http://broken.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.backend("/broken", "broken.test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(http.StatusInternalServerError)
			})))
			w.clients.expect("http://broken.test/", http.StatusInternalServerError, "")
			w.relay.running.Loads().Watch("external", "/broken_0") // then Envoy reports each second
			w.eventually("Envoy has reported the errors", func() error {
				w.clients.do("http://broken.test/")
				if n, _ := w.admin.metric(`relay_requests_total{fleet="external"}`); n == 0 {
					return errors.New("it has not")
				}
				return nil
			})
		},
		first: []string{"ended with errors", "sort errors"}, why: []string{"/broken itself answers with errors (500 or above)", "Envoy reaches it", "look at the app's log"},
	},
	{
		name: "certificate missing", domain: "bare.test",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/bare", "bare.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
		},
		first: []string{"/bare: bare.test", "redirected to https", "no certificate covers it"}, why: []string{"No certificate covers bare.test", "redirected to https", "put one into the store"},
	},
	{
		name: "certificate ended", domain: "old.test",
		fail: func(w *world) {
			w.certs.put("old.pem", []string{"old.test"}, certstest.Options{NotBefore: yesterday.AddDate(0, 0, -90), NotAfter: yesterday})
			w.start()
			w.marathon.deploy(app("/old", "old.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
		},
		first: []string{"old.pem ended at " + yesterday.Format(time.DateOnly)}, why: []string{"old.pem ended at " + yesterday.Format(time.DateOnly), "clients refuse it", "issued again"},
	},
	{
		name: "Envoy rejected it", domain: "seed.test",
		fail: func(w *world) {
			taken, err := net.Listen("tcp", w.clients.http)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = taken.Close() })
			w.relay.start()
			w.envoy.start()
		},
		first: []string{"Envoy envoy rejects listeners http", "Address already in use"},
		why:   []string{"Envoy envoy rejected listeners http", "Address already in use", "docs/rejections.md"},
	},
	{
		name: "Envoy disconnected", domain: "seed.test",
		fail: func(w *world) {
			w.start()
			w.envoy.Stop()
		},
		first: []string{"fleet external: no Envoy is connected any more", "envoy left at 20"}, why: []string{"No Envoy of fleet external is connected", "see whether the Envoys run"},
	},
	{
		name: "Envoy behind", domain: "late.test",
		fail: func(w *world) {
			proxy := w.envoy.startVia()
			w.envoy.ready()
			proxy.LoseResponses(func(*discoveryv3.DeltaDiscoveryResponse) bool { return true })
			w.marathon.deploy(app("/late", "late.test", 1))
		},
		first: []string{"Envoy envoy is behind", "has not answered since 20"}, why: []string{"Envoy envoy does not have all of it since 20", "not acknowledged yet", "look at the Envoy"},
	},
	{
		name: "Marathon away", domain: "moved.test", request: "http://moved.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.service("/moved", []string{freeAddress(w.t)}, "HAPROXY_0_VHOST", "moved.test")
			w.eventually("requests go to the app", func() error {
				if a := w.clients.do("http://moved.test/"); a.status != http.StatusBadGateway {
					return fmt.Errorf("status %d", a.status)
				}
				return nil
			})
			w.marathon.away()
			w.marathon.CutStreams()
		},
		first: []string{"Apps cannot be read from marathon", "since 20", "may be old", "503"}, why: []string{"Apps cannot be read from marathon", "since 20", "may be old", "503", "see whether it runs"},
	},
	{
		name: "Vault token expired", domain: "vaulted.test",
		fail: func(w *world) {
			ctx, cancel := context.WithTimeout(w.t.Context(), patience)
			defer cancel()
			vault, file := vaulttest.Start(w.t), filepath.Join(w.t.TempDir(), "token")
			w.relay.readVault(vault, file)
			w.certs.fill(ctx, vault, file)
			w.start()
			w.eventually("certificates are read", func() error {
				if len(w.admin.certificates()) == 0 {
					return errors.New("there is none")
				}
				return nil
			})
			token, err := os.ReadFile(file)
			if err == nil {
				err = vault.Client().Auth().Token().RevokeTreeWithContext(ctx, string(token))
			}
			if err != nil {
				w.t.Fatal(err)
			}
			w.marathon.deploy(app("/vaulted", "vaulted.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
		},
		first: []string{"Certificates cannot be read from vault", "since 20", "permission denied", "expired"},
		why:   []string{"Certificates cannot be read from vault", "since 20", "permission denied", "expired", "put another"},
	},
	{
		name: "app starting", domain: "young.test", request: "http://young.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/young", "young.test", 1))
			id := w.marathon.taskIDs("/young")[0]
			if err := w.marathon.UpdateTask(id, func(task *marathontest.Task) { task.State = "TASK_STARTING" }); err != nil {
				w.t.Fatal(err)
			}
		},
		first: []string{"offline", "/young", "young.test"}, why: []string{"No task of /young is in rotation yet", "is starting", "wait"},
	},
	{
		name: "app scaled to 0", domain: "asleep.test", request: "http://asleep.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/asleep", "asleep.test", 0))
		},
		first: []string{"1 domain is of an app that is scaled to 0"}, why: []string{"/asleep is scaled to 0: requests get 503", "scale it up"},
	},
	{
		name: "client not allowed", domain: "closed.test", request: "http://closed.test/",
		fail: func(w *world) {
			w.start()
			w.marathon.deploy(app("/closed", "closed.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8"))
		},
		first: []string{"forbidden", "/closed", "closed.test"}, why: []string{"Only clients from 10.0.0.0/8 are let in", "forbidden", "from 127.0.0.1", "HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL"},
	},
}

// yesterday is the same for all of them, also when a day ends meanwhile.
var yesterday = time.Now().UTC().AddDate(0, 0, -1)
