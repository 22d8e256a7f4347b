package xds

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
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
