package xds

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// envoyNode is what an Envoy tells of itself in Node. Each stream has its own.
type envoyNode struct {
	id string
	// version is that of the Envoy, such as 1.40.0.
	version    string
	versionBit uint32   // see Store.versionBit
	extensions []string // sorted
}

// newEnvoyNode reads a Node. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#config-core-v3-node
func newEnvoyNode(node *corev3.Node) *envoyNode {
	n := &envoyNode{id: node.GetId(), version: envoyVersion(node)}
	for _, e := range node.GetExtensions() {
		n.extensions = append(n.extensions, e.GetName())
	}
	slices.Sort(n.extensions)
	return n
}

// has reports whether the Envoy reports an extension.
func (n *envoyNode) has(extension string) bool {
	_, ok := slices.BinarySearch(n.extensions, extension)
	return ok
}

func envoyVersion(node *corev3.Node) string {
	v := node.GetUserAgentBuildVersion().GetVersion()
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
}
