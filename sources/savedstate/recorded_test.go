package savedstate

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/internal/state"
	"relay/sources"
)

// A file that was saved by an earlier version is read, and nothing of it is lost. What is
// saved now has the same form, so that the earlier version can read it.
func TestRecordedFile(t *testing.T) {
	t.Parallel()
	want := []*sources.App{
		{
			ID: "/shop/web", Version: "2026-01-02T03:04:05.006Z",
			Ports: []sources.Port{{
				Name: "http", Groups: []string{"external"}, Domains: []string{"shop.test"}, RedirectToHTTPS: true,
				HTTP: &sources.HTTP{BasicAuth: &sources.BasicAuth{User: "u", Hash: secret.String(hash)}},
				Endpoints: []sources.Endpoint{{
					Address: netip.MustParseAddrPort("10.0.0.7:31000"), Health: sources.Draining, Task: "shop_web.1", Region: "r", Zone: "z",
				}},
				Excluded: []sources.Excluded{{Task: "shop_web.2", Reason: "is not healthy"}},
			}},
			Problems: []problem.Problem{
				{Reason: "port 1 is UDP only and cannot serve a domain"},
				{Subject: "HAPROXY_0_VHOSTS", Reason: "is not a known label: did you mean HAPROXY_0_VHOST?"},
			},
		},
		{ID: "/tcp", Ports: []sources.Port{{TCP: &sources.TCP{Port: 5432}}}},
	}
	recorded, _, err := state.File{Path: "testdata/apps.state", Content: "apps"}.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := codec{keepSecrets: true}
	apps, err := c.decode(recorded)
	if err != nil || !reflect.DeepEqual(apps, want) {
		t.Errorf("loaded %+v, %v", apps, err)
	}
	want[0].Notes = []sources.Note{{Task: "shop_web.1", Text: "is judged by its own version"}}
	if body, err := c.encode(want); err != nil || string(body) != string(recorded) {
		t.Errorf("saved %s, %v\nrecorded %s", body, err, recorded)
	}
	noted := strings.Replace(string(recorded), `"ID":"/shop/web",`, `"ID":"/shop/web","Notes":[{"Task":"shop_web.1","Text":"is judged by its own version"}],`, 1)
	if apps, err := c.decode([]byte(noted)); err != nil || !reflect.DeepEqual(apps, want) {
		t.Errorf("with notes, loaded %+v, %v", apps, err)
	}
}
