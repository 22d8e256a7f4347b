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
	versionBit uint32 // see Store.versionBit
	// extensions are what it reports, and what Since says of its version. They are sorted.
	extensions []string
}

// newEnvoyNode reads a Node. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#config-core-v3-node
func newEnvoyNode(node *corev3.Node) *envoyNode {
	n := &envoyNode{id: node.GetId(), version: envoyVersion(node)}
	for _, e := range node.GetExtensions() {
		n.extensions = append(n.extensions, e.GetName())
	}
	for minor := oldestSince; minor <= newestSince && isSince(node, minor); minor++ {
		n.extensions = append(n.extensions, Since(minor))
	}
	n.extensions = append(n.extensions, toldByBootstrap(node)...)
	slices.Sort(n.extensions)
	return n
}

// maxTold is how much of what bootstraps tell Relay is taken, and maxToldBytes how long each text is.
const maxTold, maxToldBytes = 20, 100

// toldByBootstrap returns what the bootstrap of an Envoy tells Relay: what has the name "relay" in
// the metadata of the node.
func toldByBootstrap(node *corev3.Node) (told []string) {
	fields := node.GetMetadata().GetFields()["relay"].GetStructValue().GetFields()
	if len(fields) > maxTold {
		return nil
	}
	for name, value := range fields {
		if text := value.GetStringValue(); text != "" && len(name) <= maxToldBytes && len(text) <= maxToldBytes {
			told = append(told, Told(name, text))
		}
	}
	return told
}

// Told returns what stands for an extension in Resource.OrWithout if a resource needs what the
// bootstrap of an Envoy has: the metadata of its node says so by a name and a value, in "relay".
func Told(name, value string) string { return "relay: " + name + "=" + value }

// The versions for which Since may be asked.
const oldestSince, newestSince = 37, 40

// Since returns what stands for an extension in Resource.OrWithout if Envoys from a minor
// version of Envoy 1 on understand the resource, and older ones do not. An Envoy that does not
// say its version counts as an older one.
func Since(minor int) string { return fmt.Sprintf("Envoy 1.%d", minor) }

// has reports whether the Envoy reports an extension.
func (n *envoyNode) has(extension string) bool {
	_, ok := slices.BinarySearch(n.extensions, extension)
	return ok
}

func isSince(node *corev3.Node, minor int) bool {
	v := node.GetUserAgentBuildVersion().GetVersion()
	return v.GetMajorNumber() > 1 || v.GetMajorNumber() == 1 && v.GetMinorNumber() >= uint32(minor)
}

func envoyVersion(node *corev3.Node) string {
	v := node.GetUserAgentBuildVersion().GetVersion()
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
}
