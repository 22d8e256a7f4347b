package xds

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

func nodeOf(major, minor uint32) *envoyNode {
	return newEnvoyNode(&corev3.Node{UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{
		UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: major, MinorNumber: minor, Patch: 3}},
	}})
}

// A resource may be for Envoys from a version on, and another for all others.
func TestSince(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		node *envoyNode
		from int // the newest version that it counts for; 0 for none
	}{
		{nodeOf(1, 36), 0}, {nodeOf(1, 37), 37}, {nodeOf(1, 39), 39}, {nodeOf(1, 40), 40}, {nodeOf(1, 4000000), 40}, {nodeOf(0, 40), 0}, {nodeOf(2, 0), 40},
		{newEnvoyNode(&corev3.Node{}), 0}, {newEnvoyNode(nil), 0},
	} {
		for minor := oldestSince; minor <= newestSince; minor++ {
			if got, want := tt.node.has(Since(minor)), minor <= tt.from; got != want {
				t.Errorf("Envoy %q is one since 1.%d: %t", tt.node.version, minor, got)
			}
		}
	}
}

// A resource may be for Envoys whose bootstrap says that it has something.
func TestTold(t *testing.T) {
	t.Parallel()
	node := func(text string) *envoyNode {
		metadata := new(structpb.Struct)
		if err := protojson.Unmarshal([]byte(text), metadata); err != nil {
			t.Fatal(err)
		}
		return newEnvoyNode(&corev3.Node{Metadata: metadata})
	}
	many := ""
	for n := range maxTold {
		many += fmt.Sprintf(`"x%d":"y",`, n)
	}
	for text, want := range map[string]bool{
		`{"relay": {"queues": "12"}}`: true, `{"relay": {"queues": "12", "other": {"a": 1}}}`: true,
		`{"relay": {"queues": "16"}}`: false, `{"relay": {"queues": 12}}`: false, `{"relay": "queues"}`: false, `{"queues": "12"}`: false, `{}`: false,
		`{"relay": {` + many + `"queues": "12"}}`: false,
	} {
		if got := node(text).has(Told("queues", "12")); got != want {
			t.Errorf("%s says that there are 12: %t", text, got)
		}
	}
	if n := node(`{"relay": {"queues": "` + strings.Repeat("1", 1000) + `"}}`); len(n.extensions) > 0 {
		t.Error("a long text is kept")
	}
}
