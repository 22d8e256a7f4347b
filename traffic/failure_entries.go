package traffic

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/failure"
)

// Longest texts of a failure, in bytes.
const (
	maxDomain, maxPath, maxRequestID = 255, 256, 100
)

// Log takes requests and connections that failed.
func (f *Failures) Log(node *corev3.Node, message *alsv3.StreamAccessLogsMessage, stands uint64) {
	now := time.Now()
	for _, entry := range message.GetHttpLogs().GetLogEntry() {
		if code, ok := codeOf(entry); ok {
			f.add(f.request(node, entry, code, stands, now), code, now)
		}
	}
	for _, entry := range message.GetTcpLogs().GetLogEntry() {
		p := entry.GetCommonProperties()
		// One that was made in the end has the flag of a failure before, too.
		if code, ok := failure.OfConnection(flagsOf(p)); ok && p.GetUpstreamLocalAddress() == nil {
			f.add(f.connection(node, entry, code, stands, now), code, now)
		}
	}
}

// codeOf returns the code of a request. Envoy's own answers have it in a header. An answer of an
// app that ended in the middle has the flags alone.
func codeOf(entry *accesslogv3.HTTPAccessLogEntry) (failure.Code, bool) {
	if name := entry.GetResponse().GetResponseHeaders()[failure.Header]; name != "" {
		return failure.Of(name)
	}
	if entry.GetResponse().GetResponseCodeDetails() == failure.Answered {
		return failure.Code{}, false
	}
	return failure.OfCutOff(flagsOf(entry.GetCommonProperties()))
}

func (f *Failures) request(node *corev3.Node, entry *accesslogv3.HTTPAccessLogEntry, code failure.Code, stands uint64, now time.Time) Failure {
	one := f.common(node, entry.GetCommonProperties(), code, stands, now)
	request, response := entry.GetRequest(), entry.GetResponse()
	one.Domain, one.Path, one.RequestID = domainOf(request.GetAuthority()), pathOf(request.GetPath()), requestIDOf(request.GetRequestId())
	if method := request.GetRequestMethod(); method != corev3.RequestMethod_METHOD_UNSPECIFIED {
		one.Method = method.String()
	}
	one.Status = int(response.GetResponseCode().GetValue())
	one.BytesIn = request.GetRequestHeadersBytes() + request.GetRequestBodyBytes()
	one.BytesOut = response.GetResponseHeadersBytes() + response.GetResponseBodyBytes()
	return one
}

func (f *Failures) connection(node *corev3.Node, entry *accesslogv3.TCPAccessLogEntry, code failure.Code, stands uint64, now time.Time) Failure {
	one := f.common(node, entry.GetCommonProperties(), code, stands, now)
	one.Method = "TCP"
	one.BytesIn, one.BytesOut = entry.GetConnectionProperties().GetReceivedBytes(), entry.GetConnectionProperties().GetSentBytes()
	return one
}

// common is what requests and connections have in common.
func (f *Failures) common(node *corev3.Node, p *accesslogv3.AccessLogCommon, code failure.Code, stands uint64, now time.Time) Failure {
	one := Failure{
		Time: ended(p, now), Fleet: node.GetCluster(), Envoy: plain(node.GetId(), maxDomain), Port: -1,
		Code: code.Name, Reason: plain(p.GetUpstreamTransportFailureReason(), maxReason),
		Duration: max(0, p.GetDuration().AsDuration()), Count: stands,
	}
	// Of what got to no cluster, the route, or the filter chain of a TCP service, has its name.
	if cluster := cmp.Or(p.GetUpstreamCluster(), p.GetRouteName(), keptCluster(p)); cluster != "" && len(cluster) <= maxName {
		one.App, one.Port = f.split(node.GetCluster(), cluster)
	}
	if client, ok := addressOf(p.GetDownstreamRemoteAddress()); ok {
		one.Client = client.Addr().String()
	}
	if instance, ok := addressOf(p.GetUpstreamRemoteAddress()); ok {
		one.Instance = instance
	}
	return one
}

// clusterState is where the filter chain of a TCP service keeps the name of its cluster: see
// package envoy.
const clusterState = "relay.cluster"

func keptCluster(p *accesslogv3.AccessLogCommon) string {
	var name wrapperspb.StringValue
	if kept := p.GetFilterStateObjects()[clusterState]; kept == nil || kept.UnmarshalTo(&name) != nil {
		return ""
	}
	return name.GetValue()
}

// maxAge is how long ago a failure may be by the clock of an Envoy.
const maxAge = 10 * time.Minute

// ended returns when a request ended by the clock of its Envoy, unless that clock is wrong.
func ended(p *accesslogv3.AccessLogCommon, now time.Time) time.Time {
	at := p.GetStartTime().AsTime().Add(p.GetDuration().AsDuration())
	if p.GetStartTime() == nil || at.After(now) || now.Sub(at) > maxAge {
		return now
	}
	return at
}

// domainOf returns the domain of a host as a client sent it. It may name a user with a password.
func domainOf(host string) string {
	host = host[strings.LastIndexByte(host, '@')+1:]
	host = strings.ToLower(host[:min(len(host), maxDomain+len(".:65535"))])
	if ip, err := netip.ParseAddrPort(host); err == nil {
		return ip.Addr().String()
	}
	if !strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host, ":")
	}
	return plain(strings.TrimSuffix(host, "."), maxDomain)
}

// pathOf returns a path without its query and its parameters, which may be credentials, and
// without what else may be one: see maskPath.
func pathOf(path string) string {
	path = path[:min(len(path), maxPath)]
	for _, begin := range []string{"?", "#", ";", "%3f", "%3F", "%23", "%3b", "%3B"} {
		path, _, _ = strings.Cut(path, begin)
	}
	return plain(maskPath(path), 2*maxPath)
}

// requestIDOf returns an id if the page shows it, too: see answerFormat in package envoy.
func requestIDOf(id string) string {
	if len(id) > maxRequestID || strings.ContainsFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("_.:=+/-", r)
	}) {
		return ""
	}
	return id
}

// plain cuts a text, and takes what cannot be seen out of it, such as what begins a sequence of a
// terminal, or turns the direction of writing. The copy does not hold on to the message.
func plain(s string, most int) string { return visible(s[:min(len(s), most)], most) }

// flagsOf returns a function that reports whether a request or connection has a flag.
func flagsOf(p *accesslogv3.AccessLogCommon) func(flag string) bool {
	f := p.GetResponseFlags()
	return func(flag string) bool {
		switch flag {
		case "NC":
			return f.GetNoClusterFound()
		case "NFCF":
			return f.GetNoFilterConfigFound()
		case "UH":
			return f.GetNoHealthyUpstream()
		case "UO":
			return f.GetUpstreamOverflow()
		case "UT":
			return f.GetUpstreamRequestTimeout()
		case "SI":
			return f.GetStreamIdleTimeout()
		case "UF":
			return f.GetUpstreamConnectionFailure()
		case "UC":
			return f.GetUpstreamConnectionTermination()
		case "UR":
			return f.GetUpstreamRemoteReset()
		case "LR":
			return f.GetLocalReset()
		case "UPE":
			return f.GetUpstreamProtocolError()
		}
		return false
	}
}
