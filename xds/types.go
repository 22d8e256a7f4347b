package xds

import (
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// Type is a resource type that Relay serves.
type Type uint8

// The types, in the order of status and metrics.
const (
	Cluster Type = iota
	Endpoint
	Secret
	Listener
	Scope
	ExtensionConfig
	numTypes
)

// typeInfo is what the engine, and the gate that opens the types, have to know of a type.
// A new type is one entry in typeInfos, and one in sendOrder.
type typeInfo struct {
	// url is the type URL on the wire.
	url string
	// name is the one in logs, metrics and the admin JSON.
	name string

	// needsCertificates tells that the type is not opened before the certificates are read.
	needsCertificates choice
	// madeOfApps tells that the type is made of apps alone. The others also follow
	// certificates, which may be newer than the apps.
	madeOfApps choice

	// legacyWildcard tells that a first request without names asks for all. For the other
	// types it asks for nothing.
	legacyWildcard choice
	// namedByListenersOnly tells that an Envoy that has no listener does not ask for the
	// type.
	namedByListenersOnly choice
	// initialVersionsCount tells that an Envoy counts as one that acknowledged a resource
	// if it names the present version in initial_resource_versions. After a restart of
	// Relay most Envoys never acknowledge it, as they are not sent it. It matters for
	// listeners, which are rejected for a machine, and for secrets and extension
	// configurations, of which the last good version is sent to Envoys that have it. Of the
	// other types there may be too many to look at each.
	initialVersionsCount choice

	// skipsEqual tells that Envoy compares content with what came last, and acknowledges
	// equal content unread. It does so too if it rejected that content, or did not take it
	// over because it rejected another resource of the response. So a secret may be
	// acknowledged and not be served. See withMarker for what Relay does.
	skipsEqual choice
	// mark changes a marshalled resource, if skipsEqual is yes, in a place that Envoy reads
	// and makes nothing of. It returns the new body and what is to be appended to that.
	mark func(body []byte, marker string) (marked, suffix []byte)
	// keepsRejected tells that Envoy goes on with what it had, and yet holds the rejected
	// content against what names the resource later: it rejects a listener that is added for
	// its secret. The last good version, sent again, ends that.
	keepsRejected choice

	// sentAfter is what Envoy must have answered before a resource is sent, and
	// removedAfter what it must have answered before one is removed: make before break.
	sentAfter, removedAfter []wait
}

// choice is yes or no. One that was forgotten is neither, and a test fails.
type choice uint8

const (
	_ choice = iota
	no
	yes
)

// wait holds a resource back until Envoy has answered what was set of a type before.
type wait struct {
	of      Type
	include inclusion
}

// inclusion is what a wait is about, besides all that was set.
type inclusion uint8

const (
	includeRemovals inclusion = 1 << iota
	// includeStale adds what Envoy has an older version of, since it rejected the new one:
	// what the older version names is still in use.
	includeStale
)

// nothing is for resources that wait for nothing.
var nothing = []wait{}

var typeInfos = [numTypes]typeInfo{
	Cluster: {
		url: resource.ClusterType, name: "clusters",
		needsCertificates: no, madeOfApps: yes,
		legacyWildcard: yes, namedByListenersOnly: no, initialVersionsCount: no,
		skipsEqual: no, keepsRejected: no,
		sentAfter:    nothing,
		removedAfter: []wait{{Scope, includeRemovals | includeStale}, {Listener, includeRemovals | includeStale}},
	},
	Endpoint: {
		url: resource.EndpointType, name: "endpoints",
		needsCertificates: no, madeOfApps: yes,
		legacyWildcard: no, namedByListenersOnly: no, initialVersionsCount: no,
		skipsEqual: no, keepsRejected: no,
		// Envoy keeps the endpoints of a cluster until the cluster goes. But it waits for an
		// answer about those of a cluster that warms.
		sentAfter: nothing, removedAfter: nothing,
	},
	Secret: {
		url: resource.SecretType, name: "secrets",
		needsCertificates: yes, madeOfApps: no,
		legacyWildcard: no, namedByListenersOnly: yes, initialVersionsCount: yes,
		skipsEqual: yes, keepsRejected: yes,
		mark: func(body []byte, marker string) ([]byte, []byte) {
			return remarshal(body, new(tlsv3.Secret), func(s *tlsv3.Secret) { markSecret(s, marker) }), nil
		},
		sentAfter:    nothing,
		removedAfter: []wait{{Listener, includeRemovals | includeStale}},
	},
	Listener: {
		url: resource.ListenerType, name: "listeners",
		needsCertificates: no, madeOfApps: no,
		legacyWildcard: yes, namedByListenersOnly: no, initialVersionsCount: yes,
		skipsEqual: no, keepsRejected: no,
		// Envoy answers a cluster when it is warm. See retriesSecret for secrets.
		sentAfter:    []wait{{Cluster, 0}},
		removedAfter: nothing,
	},
	Scope: {
		url: resource.ScopedRouteType, name: "scopes",
		needsCertificates: no, madeOfApps: yes,
		legacyWildcard: yes, namedByListenersOnly: yes, initialVersionsCount: no,
		skipsEqual: yes, keepsRejected: no,
		// There may be very many scopes. So the body is not copied: protobuf merges what is
		// appended to it.
		mark:      func(body []byte, marker string) ([]byte, []byte) { return body, marshal(markedScope(marker)) },
		sentAfter: []wait{{Cluster, 0}},
		// One scope may lead to another, and Envoy removes before it sets.
		removedAfter: []wait{{Scope, includeStale}},
	},
	ExtensionConfig: {
		url: resource.ExtensionConfigType, name: "extension_configs",
		needsCertificates: no, madeOfApps: no,
		legacyWildcard: no, namedByListenersOnly: yes, initialVersionsCount: yes,
		skipsEqual: yes, keepsRejected: yes,
		mark: func(body []byte, marker string) ([]byte, []byte) {
			return remarshal(body, new(corev3.TypedExtensionConfig), func(c *corev3.TypedExtensionConfig) { markExtension(c, marker) }), nil
		},
		// The hosts filter leads to scopes.
		sentAfter:    []wait{{Scope, 0}},
		removedAfter: []wait{{Listener, includeRemovals | includeStale}},
	},
}

// sendOrder is the order in which responses that are ready at the same time are sent: what
// is named before what names it.
var sendOrder = [numTypes]Type{Cluster, Endpoint, Secret, Scope, Listener, ExtensionConfig}

func (t Type) info() *typeInfo { return &typeInfos[t] }

// URL returns the type URL used on the wire.
func (t Type) URL() string { return t.info().url }

// message returns the name of the message in Envoy's v3 API.
func (t Type) message() string { return strings.TrimPrefix(t.URL(), resource.APITypePrefix) }

// String returns the name used in logs, metrics and the admin JSON.
func (t Type) String() string { return t.info().name }

// MarshalText makes Type usable as a JSON key.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes a type in the words of String.
func (t *Type) UnmarshalText(text []byte) error {
	for _, known := range Types() {
		if known.String() == string(text) {
			*t = known
			return nil
		}
	}
	return fmt.Errorf("%q is no type of resources", text)
}

// NeedsCertificates reports whether nothing may be said about the type before the
// certificates are read.
func (t Type) NeedsCertificates() bool { return t.info().needsCertificates == yes }

// TypeOf returns the Type with the given type URL.
func TypeOf(url string) (Type, bool) {
	for t := range typeInfos {
		if typeInfos[t].url == url {
			return Type(t), true
		}
	}
	return 0, false
}

// Types lists all types in order.
func Types() []Type {
	all := make([]Type, numTypes)
	for t := range all {
		all[t] = Type(t)
	}
	return all
}
