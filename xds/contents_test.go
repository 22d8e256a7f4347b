package xds

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
)

// What a store holds can be read as messages.
func TestContents(t *testing.T) {
	t.Parallel()
	s := NewStore()
	r, err := NewResource(Cluster, "b", &clusterv3.Cluster{Name: "b", AltStatName: "seen"})
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(Change{Set: []Resource{r, testResource(t, Cluster, "a", "1"), testResource(t, Endpoint, "a", "1")}})
	s.Apply(Change{Set: []Resource{testResource(t, Cluster, "c", "1")}, Remove: []Key{{Endpoint, "a"}}})
	isB := func(body []byte) bool {
		var c clusterv3.Cluster
		return proto.Unmarshal(body, &c) == nil && c.GetName() == "b" && c.GetAltStatName() == "seen"
	}
	var names []string
	for _, c := range s.Contents(Cluster, func(name string) bool { return name != "c" }) {
		if names = append(names, c.Name); c.Name == "b" && (c.Version != r.Version || !isB(c.Body)) {
			t.Errorf("b is %+v", c)
		}
	}
	if got := strings.Join(names, " "); got != "a b" {
		t.Errorf("clusters %s", got)
	}
	bodies := s.Bodies([]Key{{Cluster, "b"}, {Endpoint, "a"}, {Scope, "none"}})
	if !isB(bodies[0]) || !isB(r.Body()) || bodies[1] != nil || bodies[2] != nil {
		t.Errorf("bodies %q", bodies)
	}
}
