package sources

import (
	"net/netip"
	"time"
)

// HTTP says how the requests for a port's domains are chosen and handled, where
// that is not the default. A source checks every value, as the package labels does.
// It is never modified.
type HTTP struct {
	// Paths are the prefixes of the paths that the port serves; empty for all.
	Paths []Path
	// Order sorts the ports that share a domain: the largest is asked first.
	// It is no share of traffic (HAPROXY_n_BACKEND_WEIGHT).
	Order int
	// ClusterWeight is the port's share of the requests that other ports with a
	// weight claim in the same words: domain, paths and order. Nil has none.
	ClusterWeight *uint32
	// Service, if it is set, names what apps of one top-level folder serve together. Only ports of the same
	// service share requests then, and each of their instances has the share ClusterWeight.
	Service string `json:",omitempty"`

	// Closed answers every request with 403: a restriction was asked for that
	// cannot be kept.
	Closed bool
	// BasicAuth, when set, asks for a user name and a password.
	BasicAuth *BasicAuth
	// AllowedNetworks are the client addresses that are let in; empty for all.
	AllowedNetworks []netip.Prefix

	// HSTS tells browsers to come by HTTPS only.
	HSTS bool
	// RootRedirect is where a request for "/" is sent, by 301; empty for nowhere.
	RootRedirect string
	// StripPrefix is taken off the path that the app sees.
	StripPrefix string
	// LocationPrefix is put in front of the path in the app's Location headers.
	LocationPrefix string
	// RequestHeaders are changes to what the app sees, ResponseHeaders to what
	// the client sees.
	RequestHeaders, ResponseHeaders HeaderEdits

	// Sticky keeps a client on one endpoint, by a cookie.
	Sticky bool
	// Hash, when set, picks the endpoint by a hash of the request.
	Hash *Hash
	// Timeout ends requests, and IdleTimeout those on which nothing moves; nil
	// is the fleet's own, 0 is never.
	Timeout, IdleTimeout *time.Duration
	// MaxStreamDuration ends requests, streams and WebSockets after so long; 0 never does.
	MaxStreamDuration time.Duration `json:",omitempty"`
	// NumRetries and RetryOn (conditions by their Envoy names) replace the
	// fleet's own when set.
	NumRetries *uint32
	RetryOn    []string

	// Match are what requests must be like beyond their path: one of them must fit; empty for all.
	Match []Match `json:",omitempty"`
	// SignOn asks who somebody is, RequestLimits bounds what is asked, and Shaping changes requests and
	// answers.
	SignOn        *SignOn        `json:",omitempty"`
	RequestLimits *RequestLimits `json:",omitempty"`
	Shaping       *Shaping       `json:",omitempty"`
}

// KeepsClients reports whether a client stays on one endpoint, by what it sends with each request.
func (h *HTTP) KeepsClients() bool {
	return h.Sticky || h.Shaping != nil && h.Shaping.StickyHeader != ""
}

// Path is a prefix of the path of requests, compared byte by byte, so that
// "/api" also stands for "/apix".
type Path struct {
	Prefix     string
	IgnoreCase bool
	// Exact has the prefix be the whole path.
	Exact bool `json:",omitempty"`
	// Pattern, if there is one, is a regular expression (RE2) that the whole path must fit. It begins with
	// the prefix.
	Pattern string `json:",omitempty"`
}

// Whole reports whether the path is more than a prefix.
func (p Path) Whole() bool { return p.Exact || p.Pattern != "" }

// HeaderEdits are changes to a header.
type HeaderEdits struct {
	// Add replaces what is there under the same name.
	Add []Header
	// Remove holds names, in lower case.
	Remove []string
}

// Header is one line of a header. The name is in lower case; the value is taken
// as it is.
type Header struct{ Name, Value string }

// HashBy is what a Hash is made of.
type HashBy uint8

// What a request can be hashed by.
const (
	HashHeader HashBy = iota + 1
	HashCookie
	HashQueryParameter
	HashSourceIP
	HashPath // without the query
	HashURI  // with it
	// HashPathSegment is by one segment of the path, from 1, and HashSubdomain by the first label of
	// the host.
	HashPathSegment
	HashSubdomain
)

// Hash says how requests are hashed. Name is that of the header, cookie or
// query parameter.
type Hash struct {
	By   HashBy
	Name string
	// Segment is the one of the path.
	Segment int `json:",omitempty"`
}

// TCP says that connections to a port are passed on as they are, without
// knowing what is said on them. It is never modified.
type TCP struct {
	// Port is what Envoys listen on for it; 0 for nothing.
	Port uint16
	// Address is what they bind; the zero value is the fleet's own choice.
	Address netip.Addr
	// AcceptProxy expects the PROXY protocol's header, in version 1 or 2, at the
	// beginning of each connection, and takes the client's address from it.
	AcceptProxy bool
	// Passthrough takes the connections to the https listener that ask by TLS
	// for one of the port's domains: the app has the certificate.
	Passthrough bool
	// Implicit tells that nothing asked for TCP: the port just is not one for
	// HTTP. Only fleets that open all service ports serve it.
	Implicit bool
	// ServiceTLS, when set, has Envoys end the TLS of connections to Port.
	ServiceTLS *ServiceTLS `json:",omitempty"`
	// MaxConnectionAge ends connections that have lasted for so long, give or take a part of it;
	// 0 never does.
	MaxConnectionAge time.Duration `json:",omitempty"`
	// Rebalance is how many percent of the connections of a port may be ended a minute, to even out
	// how many its instances have; 0 ends none.
	Rebalance float64 `json:",omitempty"`
	// AcceptRate is how many new connections a second each instance takes; the others wait. 0 is no
	// limit.
	AcceptRate float64 `json:",omitempty"`
	// AddressRate is how many new connections a second one address of a client may open; others
	// are closed. 0 is no limit.
	AddressRate float64 `json:",omitempty"`
	// Hold has connections wait for so long while there is no instance; 0 does not.
	Hold time.Duration `json:",omitempty"`
	// Redis, when set, spreads the keys of Redis over the instances.
	Redis *Redis `json:",omitempty"`
}

// ServiceTLS says how Envoys meet the clients of a TCP service whose TLS they end. It is never
// modified.
type ServiceTLS struct {
	// ClientCA names the authority of the certificate store that signs the certificates of clients;
	// clients are asked for none when it is empty.
	ClientCA string `json:",omitempty"`
	// OptionalCertificate lets clients in that show no certificate. One that is shown must be good.
	OptionalCertificate bool `json:",omitempty"`
	// ClientNames are those of which a client's certificate must have one; any does when it is empty.
	ClientNames []ClientName `json:",omitempty"`
	// Profile says which versions and cipher suites of TLS clients may use.
	Profile TLSProfile `json:",omitempty"`
	// ALPN are the protocols of which a client is told that it may speak one, in order of preference.
	ALPN []string `json:",omitempty"`
	// Refused lets nobody in: a restriction was asked for that cannot be kept.
	Refused bool `json:",omitempty"`
}

// ClientName is a subject alternative name, or how several of them begin.
type ClientName struct {
	Type   NameType
	Value  string
	Prefix bool `json:",omitempty"`
}

// NameType is the type of a subject alternative name.
type NameType string

// The types.
const (
	NameURI   NameType = "uri"
	NameDNS   NameType = "dns"
	NameEmail NameType = "email"
)

// TLSProfile is one of the profiles of https://wiki.mozilla.org/Security/Server_Side_TLS.
type TLSProfile string

// The profiles; the zero value is TLSIntermediate.
const (
	TLSModern       TLSProfile = "modern"
	TLSIntermediate TLSProfile = "intermediate"
	// TLSOld has the older cipher suites of TLS 1.2 too, of those with forward secrecy.
	TLSOld TLSProfile = "old"
)

// Balance is how an endpoint is picked.
type Balance uint8

// The algorithms.
const (
	BalanceDefault Balance = iota
	BalanceRoundRobin
	BalanceLeastRequest
	BalanceRandom
	BalanceHash // by HTTP.Hash
)

// Upstream says how Envoy connects to the endpoints of a port, where that is
// not the default. It is never modified.
type Upstream struct {
	Balance Balance
	// ConnectTimeout is the fleet's own when 0.
	ConnectTimeout time.Duration
	// MaxConnections, MaxPendingRequests and MaxRequests bound what is under way
	// at one time to all endpoints, from each Envoy; 0 is no limit.
	MaxConnections, MaxPendingRequests, MaxRequests uint32
	// TLS, when set, encrypts connections.
	TLS *UpstreamTLS
	// HTTP2 speaks HTTP/2, as gRPC needs.
	HTTP2 bool
	// ProxyProtocol is the version of the PROXY protocol that each connection
	// begins with; 0 for none.
	ProxyProtocol uint8
	// EjectAfter is how many answers with a status of 500 or more in a row leave an endpoint out for a while; 0
	// for any number. EjectFor is how long the first time; 0 is the default.
	EjectAfter uint32        `json:",omitempty"`
	EjectFor   time.Duration `json:",omitempty"`
}

// UpstreamTLS says how connections to endpoints are encrypted.
type UpstreamTLS struct {
	// SNI is the server name asked for; the host of the request when empty.
	SNI string
	// Verify checks the certificate against the fleet's authorities, and its
	// name against the SNI.
	Verify bool
}

// Deployment says that an app is one of several that make up one service while
// it is deployed anew (HAPROXY_DEPLOYMENT_GROUP).
type Deployment struct {
	// Group is the service, the same for all its apps.
	Group string
	// StartedAt orders them; the zero time is the oldest.
	StartedAt time.Time
	// TargetInstances is how many instances there shall be in the end; 0 when
	// that is not known.
	TargetInstances int
	// Instances is how many this app is meant to have.
	Instances int
	// Back is set while the service is rolled back, by people who told Relay so: the app before the
	// newest takes over again. It is no matter of the source.
	Back bool `json:"-"`
}
