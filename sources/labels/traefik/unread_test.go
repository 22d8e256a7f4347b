package traefik

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
	"relay/sources/labels"
)

// Whoever looks for the domain of an app that only labels of Traefik name is told that nobody reads them. Apps that
// labels of marathon-lb route have nothing said of them.
func TestLabelsOfTraefikThatNobodyReads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		labels map[string]string
		want   []string
	}{
		"traefik 2":     {map[string]string{"traefik.http.routers.w.rule": "Host(`Shop.test`, `b.test`) && PathPrefix(`/x`)"}, []string{"shop.test", "b.test"}},
		"traefik 1":     {map[string]string{"traefik.frontend.rule": "Host:a.test, b.test;PathPrefix:/x"}, []string{"a.test", "b.test"}},
		"both":          {map[string]string{"traefik.http.routers.w.rule": "Host(`a.test`)", "HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test"}, nil},
		"no domain":     {map[string]string{"traefik.http.routers.w.rule": "Host(`not a host`)", "traefik.enable": "true"}, nil},
		"other program": {map[string]string{"consul.rule": "Host(`a.test`)"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ports := []labels.DeclaredPort{{}}
			said, _ := Read(labels.Read(tt.labels, ports), App{ID: "/a", Labels: tt.labels, Ports: []Port{{DeclaredPort: ports[0]}}}, nil)
			var got []string
			for _, one := range said.Unrouted {
				if !one.Meant || !strings.Contains(one.Reason, "--labels marathon-lb,traefik") {
					t.Errorf("%+v", one)
				}
				got = append(got, one.Domain)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(said.Problems) > 0 {
				t.Errorf("problems: %v", said.Problems)
			}
		})
	}
	many := map[string]string{"traefik.http.routers.w.rule": "Host(`" + strings.Repeat("a.test`,`", 1000) + "b.test`)"}
	if said, _ := Read(labels.Read(many, nil), App{ID: "/a", Labels: many}, nil); len(said.Unrouted) != sources.MaxUnrouted {
		t.Errorf("%d domains", len(said.Unrouted))
	}
}
