package envoy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protojson"

	"relay/certs"
	"relay/collator"
	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// storeOf returns a store with what a fleet is sent.
func storeOf(t testing.TB, fleet routing.Fleet, apps []*sources.App, certificates []*certs.Certificate) (*xds.Store, *collator.Collator) {
	t.Helper()
	store := xds.NewStore()
	c, err := collator.New(collator.Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}},
		map[string]collator.Publisher{fleet.Name: store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.SyncCertificates("vault", certificates, nil)
	c.SyncApps(apps)
	return store, c
}

// flushed runs a collator until all is in its store.
func flushed(t testing.TB, c *collator.Collator) {
	t.Helper()
	ctx, cancel := contextOf(t)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Serve(ctx) }()
	err := c.Flush(ctx)
	cancel()
	if <-done; err != nil {
		t.Fatal(err)
	}
}

// dumped is a config dump by section: the names of the resources.
func dumped(t testing.TB, store *xds.Store, filter envoy.DumpFilter) (names map[string][]string, text string) {
	t.Helper()
	var out bytes.Buffer
	if err := envoy.WriteConfigDump(&out, store, filter); err != nil {
		t.Fatal(err)
	}
	return sections(t, out.Bytes()), out.String()
}

// sections returns the names and versions of the dynamic resources in a dump, by section.
func sections(t testing.TB, text []byte) map[string][]string {
	t.Helper()
	var dump struct{ Configs []map[string]any }
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	all := make(map[string][]string)
	for _, section := range dump.Configs {
		for list, entries := range section {
			entries, ok := entries.([]any)
			if !ok || !strings.HasPrefix(list, "dynamic_") && list != "ecds_filters" {
				continue
			}
			for _, entry := range entries {
				if scopes, ok := entry.(map[string]any)["scoped_route_configs"].([]any); ok {
					for _, scope := range scopes {
						all[list] = append(all[list], nameAndVersion(scope.(map[string]any)))
					}
					continue
				}
				all[list] = append(all[list], nameAndVersion(entry.(map[string]any)))
			}
			slices.Sort(all[list])
		}
	}
	return all
}

func nameAndVersion(entry map[string]any) string {
	name, version := entry["name"], entry["version_info"]
	for _, key := range []string{"active_state", "cluster", "endpoint_config", "ecds_filter"} {
		within, ok := entry[key].(map[string]any)
		if !ok {
			continue
		}
		if v, ok := within["version_info"]; ok {
			version = v
		}
		for _, key := range []string{"name", "cluster_name"} {
			if n, ok := within[key]; ok && name == nil {
				name = n
			}
		}
	}
	if entry["endpoint_config"] != nil {
		version = nil // Envoy does not say it
	}
	return fmt.Sprint(name, " ", version)
}

func TestConfigDump(t *testing.T) {
	t.Parallel()
	apps := []*sources.App{
		webApp("/shop/web", "shop.test", "*.shop.test"),
		set(t, webApp("/private", "private.test"), "AUTH=r:u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "REQUEST_HEADERS_TO_ADD=authorization: Bearer hunter2"),
	}
	store, c := storeOf(t, collatortest.Fleet(), apps, []*certs.Certificate{collatortest.Certificate("shop.test", "secret-content", "shop.test")})
	c.SetTicketKeys("external", []collator.TicketKey{[]byte("eighty-bytes-of-key")})
	flushed(t, c)
	names, text := dumped(t, store, envoy.DumpFilter{})
	count := 0
	for _, n := range names {
		count += len(n)
	}
	want := 0
	for _, n := range store.Counts() {
		want += n
	}
	if count != want || want < 10 || len(names) != 6 {
		t.Errorf("%d resources of %d are there, in %v", count, want, slices.Sorted(maps.Keys(names)))
	}
	if err := protojson.Unmarshal([]byte(text), &adminv3.ConfigDump{}); err != nil {
		t.Errorf("it is no envoy.admin.v3.ConfigDump: %v", err)
	}
	for _, hidden := range []string{"key secret-content", "a2V5IHNlY3JldC1jb250ZW50", "W6ph5Mm5Pz8GgiULbPgzG37mj9g", "hunter2", "eighty-bytes", "ZWlnaHR5"} {
		if strings.Contains(text, hidden) {
			t.Errorf("it has %s", hidden)
		}
	}
	for _, shown := range []string{"Y2hhaW4gc2VjcmV0LWNvbnRlbnQ", "[redacted]", "10.0.0.1", "/shop/web_0"} {
		if !strings.Contains(text, shown) {
			t.Errorf("it lacks %s", shown)
		}
	}
	names, _ = dumped(t, store, envoy.DumpFilter{Types: []xds.Type{xds.Cluster, xds.Endpoint}, Match: func(name string) bool { return strings.Contains(name, "/shop") }})
	if len(names) != 2 || len(names["dynamic_active_clusters"]) != 1 || len(names["dynamic_endpoint_configs"]) != 1 {
		t.Errorf("filtered: %v", names)
	}
	if err := envoy.WriteConfigDump(brokenWriter{}, store, envoy.DumpFilter{}); !errors.Is(err, errBroken) {
		t.Errorf("to a writer that is broken: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// Envoy's own dump lists the same resources, in the same form.
func TestConfigDumpIsLikeEnvoys(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("a.test", "a.test")}, nil)
	e.c.SyncApps([]*sources.App{webApp("/a", "a.test"), set(t, webApp("/b", "b.test"), "AUTH=r:u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		theirs, err := e.envoy.Get(t.Context(), "/config_dump?include_eds")
		if err != nil {
			t.Fatal(err)
		}
		got := sections(t, []byte(theirs))
		want, _ := dumped(t, e.store, envoy.DumpFilter{})
		if maps.EqualFunc(got, want, slices.Equal) && len(want["dynamic_listeners"]) > 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Envoy has\n%v\nand we say\n%v", got, want)
		}
	}
}

// FuzzNoSecretIsShown makes configurations of random apps with secrets wherever an app or a store can have some.
func FuzzNoSecretIsShown(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint64(0))
	}
	f.Fuzz(func(t *testing.T, seed, sequence uint64) {
		r := collatortest.NewRandom(seed, sequence)
		word := func() string { return fmt.Sprintf("hunter2%08x", r.Uint32()) }
		apps := make(map[string]*sources.App)
		for range 5 {
			app := r.App()
			for i := range app.Ports {
				h := sources.HTTP{}
				if app.Ports[i].HTTP != nil {
					h = *app.Ports[i].HTTP
				}
				header := []string{"authorization", "cookie", "x-api-key", "x-auth-token", "proxy-authorization"}[r.IntN(5)]
				h.RequestHeaders.Add = []sources.Header{{Name: header, Value: "Bearer " + word()}}
				h.ResponseHeaders.Add = []sources.Header{{Name: "set-cookie", Value: "a=" + word()}, {Name: "location", Value: "https://u:" + word() + "@a.test/?token=" + word()}}
				switch r.IntN(3) {
				case 0:
					h.BasicAuth = &sources.BasicAuth{Realm: "r", User: "u", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}
				case 1:
					h.RootRedirect = "/a?token=" + word()
				}
				app.Ports[i].HTTP = &h
			}
			apps[app.ID] = app
		}
		certificates := r.Certificates()
		for _, c := range certificates {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
			c.Key = []byte(word())
		}
		store, c := storeOf(t, collatortest.Fleet(), slices.Collect(maps.Values(apps)), certificates)
		c.SetTicketKeys("external", []collator.TicketKey{[]byte(word())})
		flushed(t, c)
		_, text := dumped(t, store, envoy.DumpFilter{})
		for _, secret := range []string{"hunter2", "aHVudGVyM", "h1bnRlcj", "odW50ZXIy", "W6ph5Mm5Pz8GgiULbPgzG37mj9g"} { // also as base64
			if at := strings.Index(text, secret); at >= 0 {
				t.Fatalf("shown: %s", text[max(0, at-300):min(len(text), at+50)])
			}
		}
	})
}
