package wake

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"relay/internal/authz"
)

const (
	// maxCheck is how large a check may be, in bytes: a path and headers that Envoy takes fit.
	maxCheck = 256 << 10
	// maxUserAgent is how much of a user agent is looked at, and maxName how long a name may be.
	maxUserAgent, maxName = 1024, 1024
)

// request is what a check says of the request of a client.
type request struct {
	fleet, node string
	app         string // routed id
	port        int
	client      netip.Addr // not valid if it is not known
	userAgent   string
	domain      string // without a port; empty if there is none
	// came is when the request came to Envoy, by its clock.
	came time.Time
	// browser is set if the client shows pages.
	browser bool
}

// parse understands a check of an Envoy of a fleet. What it returns holds nothing of the message.
func parse(raw []byte, fleet string) (request, error) {
	var check authv3.CheckRequest
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &check); err != nil {
		return request{}, status.Error(codes.InvalidArgument, "a check is malformed")
	}
	a := check.GetAttributes()
	head := a.GetRequest().GetHttp()
	r := request{fleet: fleet, node: head.GetHeaders()[authz.NodeHeader]}
	route := head.GetHeaders()[authz.RouteHeader]
	end := strings.LastIndexByte(route, '_')
	port, err := strconv.ParseUint(route[end+1:], 10, 16)
	if end <= 0 || err != nil || max(len(route), len(r.fleet), len(r.node)) > maxName {
		return request{}, status.Errorf(codes.InvalidArgument, "a check does not say for which app port it is, as header %s", authz.RouteHeader)
	}
	r.app, r.port = route[:end], int(port)
	r.client, _ = netip.ParseAddr(a.GetSource().GetAddress().GetSocketAddress().GetAddress())
	r.client = r.client.Unmap().WithZone("")
	r.came = a.GetRequest().GetTime().AsTime()
	agent := head.GetHeaders()["user-agent"]
	r.userAgent = strings.Clone(agent[:min(len(agent), maxUserAgent)])
	r.domain = domainOf(head.GetHost())
	r.browser = showsPages(head)
	return r, nil
}

// by is who asks, as far as people may know.
func (r *request) by() Client { return Client{r.domain, networkOf(r.client)} }

// maxDomain is how long a domain may be.
const maxDomain = 253

// domainOf returns the domain that a client asks for. Below a wildcard domain it may be anything that
// the client makes up: then it is empty unless it looks like a domain.
func domainOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(host) > maxDomain || strings.ContainsFunc(host, other) {
		return ""
	}
	return strings.Clone(host)
}

// showsPages reports whether a client is one that shows a page in place of the answer. A client
// that asks for a WebSocket or by gRPC does not accept HTML.
func showsPages(head *authv3.AttributeContext_HttpRequest) bool {
	if m := head.GetMethod(); m != http.MethodGet && m != http.MethodHead {
		return false
	}
	headers := head.GetHeaders()
	return headers["upgrade"] == "" && !strings.HasPrefix(headers["content-type"], "application/grpc") &&
		strings.Contains(strings.ToLower(headers["accept"]), "text/html")
}

// networkOf returns the network of a client, which counts as one when apps are woken in turn: what
// one customer of a provider mostly has.
func networkOf(client netip.Addr) netip.Prefix {
	bits := 24
	if client.Is6() {
		bits = 56
	}
	network, _ := client.Prefix(bits) // the zero value of an address that is not known
	return network
}
