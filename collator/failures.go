package collator

import (
	"relay/collator/routing"
	"relay/xds"
)

// failures are what could not be built of a fleet, or is not valid for Envoy.
type failures struct {
	// resources could not be built as a whole: the version published before stays.
	resources map[xds.Key]string
	// parts are left out of a shared resource, so that the rest of it is published.
	parts map[xds.Key]map[part]error
	// clusters have no version at all: what leads to them is left out, too.
	clusters map[string]struct{}
}

// part is one of those that a shared resource is made of: what an app port has
// in it, or a certificate.
type part struct {
	routing.AppPort
	secret string
}

// String names the part in problems.
func (p part) String() string {
	if p.secret != "" {
		return "certificate " + p.secret
	}
	return p.AppPort.String()
}

func newFailures() failures {
	return failures{
		resources: make(map[xds.Key]string), parts: make(map[xds.Key]map[part]error), clusters: make(map[string]struct{}),
	}
}

// leavesOut reports whether a part is left out of a resource: because it cannot be
// built, or because its cluster cannot.
func (f *failures) leavesOut(key xds.Key, p part) bool {
	if _, ok := f.parts[key][p]; ok {
		return true
	}
	if len(f.clusters) == 0 || p.App == "" {
		return false
	}
	_, ok := f.clusters[p.Cluster()]
	return ok
}

// leavesOutAny reports whether parts may be left out of a resource.
func (f *failures) leavesOutAny(key xds.Key) bool { return len(f.parts[key])+len(f.clusters) > 0 }
