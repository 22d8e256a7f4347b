package savedstate

import (
	"bytes"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/internal/secret"
	"relay/internal/state"
	"relay/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hash = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="

// fill sets every field there is, so that one that would be lost shows.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("[fe80::1%eth0]:80")))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("::ffff:10.0.0.7")))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("10.0.0.0/8")))
		return
	case sources.Health:
		v.Set(reflect.ValueOf(sources.Draining))
		return
	case sources.Labels:
		v.Set(reflect.ValueOf(sources.NewLabels([]sources.Label{{Name: "HAPROXY_GROUP", Value: "external"}}, 0)))
		return
	case secret.String:
		v.Set(reflect.ValueOf(secret.String(hash)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.String:
		v.SetString("text <\u2028>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(2.5)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

func full(t *testing.T) *sources.App {
	t.Helper()
	app := &sources.App{}
	fill(t, reflect.ValueOf(app).Elem())
	app.ID = "/full"
	return app
}

// All there is to an app survives, but what is for people alone, what is unset and what is set to
// zero too.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	none, never := uint32(0), time.Duration(0)
	before := []*sources.App{
		full(t),
		{ID: "/plain", Ports: []sources.Port{{}, {Domains: []string{}, HTTP: &sources.HTTP{}, Upstream: &sources.Upstream{}}}},
		{ID: "/stopped", Stopped: true, Ports: []sources.Port{{}, {Excluded: []sources.Excluded{{Task: "t", Reason: "is starting"}}}}},
		{ID: "/zero", Ports: []sources.Port{{HTTP: &sources.HTTP{ClusterWeight: &none, Timeout: &never}}}},
	}
	c := codec{keepSecrets: true}
	body, err := c.encode(before)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.decode(body)
	if err != nil {
		t.Fatal(err)
	}
	before[0].Notes, before[0].Unrouted, before[0].Labels, before[0].Gated = nil, nil, sources.Labels{}, false
	before[0].Ports[0].Endpoints[0].Shed = sources.Shed{}
	before[0].Deployment.Back = false
	limits := before[0].Ports[0].HTTP.RequestLimits
	limits.Everywhere, limits.SaidOnly = false, false // are of fleets and of Envoys
	limits.PerClient.Clients = 0                      // are counted by the collator
	p := &before[0].Problems[0]
	p.Domain, p.Severity, p.Action = "", "", ""
	if !reflect.DeepEqual(after, before) {
		t.Errorf("saved %s\nloaded %+v", body, after)
	}
	for i := range before {
		if !before[i].Equal(after[i]) {
			t.Errorf("%s is not equal to itself as saved", before[i].ID)
		}
	}
}

// What the source says of the instances of an app is saved where Relay may change their number. Of
// other apps it is for people alone, and an earlier version would refuse the file.
func TestOrchestrationIsSavedWithScaling(t *testing.T) {
	t.Parallel()
	failed := &sources.Orchestration{Failure: &sources.TaskFailure{Task: "t", Message: "no memory"}}
	c := codec{keepSecrets: true}
	body, err := c.encode([]*sources.App{{ID: "/a", Orchestration: failed}, {ID: "/b", Scaling: &sources.Scaling{}, Orchestration: failed}})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := c.decode(body)
	if err != nil || apps[0].Orchestration != nil || !reflect.DeepEqual(apps[1].Orchestration, failed) {
		t.Errorf("%s: %+v, %v", body, apps, err)
	}
}

// Without a key no password is in the file, and no port that had one is open.
func TestPasswordsAreNotSavedInPlainText(t *testing.T) {
	t.Parallel()
	app := full(t)
	app.Ports[0].HTTP.Closed = false
	app.Ports = append(app.Ports, sources.Port{Domains: []string{"open.test"}})
	body, err := codec{}.encode([]*sources.App{app})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(body, []byte(hash[5:])) || bytes.Contains(body, []byte("Hashes")) {
		t.Errorf("the file has the hash: %s", body)
	}
	got, err := codec{}.decode(body)
	if err != nil {
		t.Fatal(err)
	}
	ports := got[0].Ports
	if h := ports[0].HTTP; !h.Closed || h.BasicAuth != nil || !reflect.DeepEqual(h.Paths, app.Ports[0].HTTP.Paths) {
		t.Errorf("the port that asked for a password is %+v", h)
	}
	if ports[1].HTTP != nil || len(got[0].Problems) != len(app.Problems)+1 {
		t.Errorf("the other port is %+v, problems %+v", ports[1], got[0].Problems)
	}
	if app.Ports[0].HTTP.Closed || app.Ports[0].HTTP.BasicAuth == nil {
		t.Error("the app itself was changed")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:               "cannot be decoded",
		`{}`:             "cannot be decoded",
		`[] []`:          "after its end",
		`[null]`:         "", // an entry without an app
		`[{"App":null}]`: "without an id",
		`[{"App":{}}]`:   "without an id",
		`[{"App":{"ID":"/a"}},{"App":{"ID":"/a"}}]`:                                                                                            "without an id of its own",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"OnlyFrom":"x"}}]}}]`:                                                                            "unknown field",
		`[{"App":{"ID":"/a","Ports":[{"Endpoints":[{"Health":"sick"}]}]}}]`:                                                                    "no health",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u","Hash":"REDACTED"}}}]}}]`:                                                "not saved",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u"}}}]},"Hashes":{"1":"x"}}]`:                                               "not saved",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{}}]},"Hashes":{"0":"{SHA}x"}}]`:                                                                  "no port asks for",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u"}}}]},"Hashes":{"0":"{SHA}x","7":"{y}"}}]`:                                "no port asks for",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u","More":[{"Name":"v"}]}}}]},"Hashes":{"0":"x"}}]`:                         "passwords that were not saved",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u","More":[{"Name":"v"}]}}}]},"Hashes":{"0":"x"},"MoreHashes":{"0":[""]}}]`: "not saved",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u"}}}]},"Hashes":{"0":"x"},"MoreHashes":{"1":["x"]}}]`:                      "no port asks for",
		`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u"}}}]},"Hashes":{"0":"x"},"MoreHashes":{"0":["x"]}}]`:                      "not saved",
	} {
		apps, err := codec{keepSecrets: true}.decode([]byte(body))
		if apps != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", body, apps, err, want)
		}
	}
}

// All users of a port are saved.
func TestUsersAreSaved(t *testing.T) {
	t.Parallel()
	app := full(t)
	app.Ports[0].HTTP.BasicAuth.More = []sources.User{{Name: "v", Hash: "$6$second"}, {Name: "w", Hash: "$6$third"}}
	body, err := codec{keepSecrets: true}.encode([]*sources.App{app})
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec{keepSecrets: true}.decode(body)
	if err != nil || !reflect.DeepEqual(got[0].Ports[0].HTTP.BasicAuth, app.Ports[0].HTTP.BasicAuth) {
		t.Errorf("loaded %v, of %s", err, body)
	}
	if body, err := (codec{}).encode([]*sources.App{app}); err != nil || bytes.Contains(body, []byte("$6$")) {
		t.Errorf("without a key: %s, %v", body, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"App":{"ID":"/a","Ports":[{"HTTP":{"BasicAuth":{"User":"u"}}}]},"Hashes":{"0":"{SHA}x"}}]`))
	f.Add([]byte(`[{"App":{"ID":"/a","Ports":[{"Endpoints":[{"Address":"1.2.3.4:5","Health":"draining"}]}]}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := codec{keepSecrets: true}
		apps, err := c.decode(body)
		if err != nil {
			return
		}
		for _, app := range apps {
			for _, port := range app.Ports {
				if port.HTTP != nil && port.HTTP.BasicAuth != nil && (port.HTTP.BasicAuth.Hash == "" || port.HTTP.BasicAuth.Hash == "REDACTED") {
					t.Errorf("a port that asks for a password has none: %s", body)
				}
			}
		}
	})
}

// recorder keeps what it was told, in words.
type recorder struct{ said []string }

func (r *recorder) SyncApps(apps []*sources.App) { r.said = append(r.said, "sync "+ids(apps)) }

func (r *recorder) UpdateApps(set []*sources.App, removed []string) {
	r.said = append(r.said, "set "+ids(set)+" removed "+strings.Join(removed, ","))
}

func ids(apps []*sources.App) string {
	var all []string
	for _, a := range apps {
		all = append(all, a.ID)
	}
	return strings.Join(all, ",")
}

func newSink(t *testing.T, path string) (*Sink, *recorder) {
	t.Helper()
	r := &recorder{}
	s := New(state.Config{
		What: "apps", Source: "marathon", File: state.File{Path: path, Content: "apps"}, Grace: 10 * time.Second, Interval: 5 * time.Second,
	}, r, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return s, r
}

// What was synced and updated is what a second life stands in with.
func TestTwoLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	app := func(id string) *sources.App { return &sources.App{ID: id} }
	synctest.Test(t, func(t *testing.T) {
		first, told := newSink(t, path)
		go func() { _ = first.Serve(t.Context()) }()
		first.SyncApps([]*sources.App{app("/gone")})
		first.SyncApps([]*sources.App{app("/b"), app("/a"), app("/c")})
		first.UpdateApps([]*sources.App{app("/d")}, []string{"/c"})
		if got, want := strings.Join(told.said, "; "), "sync /gone; sync /b,/a,/c; set /d removed /c"; got != want {
			t.Errorf("the next sink was told %q, want %q", got, want)
		}
		time.Sleep(time.Minute)
		second, told := newSink(t, path)
		go func() { _ = second.Serve(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		second.UpdateApps([]*sources.App{app("/e")}, nil)
		second.SyncApps([]*sources.App{app("/a")})
		second.UpdateApps([]*sources.App{app("/e")}, nil)
		if got, want := strings.Join(told.said, "; "), "sync /a,/b,/d; sync /a; set /e removed "; got != want {
			t.Errorf("the next sink was told %q, want %q", got, want)
		}
	})
}
