package envoy

import (
	"net/netip"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

// TCPListener makes the listener of one TCP service. It shares nothing with any other. access is that of a
// service of Redis.
func TCPListener(f *routing.Fleet, s routing.Service, access RedisAccess) (*listenerv3.Listener, error) {
	var p packer
	name := routing.TCPListener(s.Listen)
	listener := newListener(name, f.HTTP)
	address := s.Address
	if !address.IsValid() {
		address = f.HTTP.Addr()
	}
	listener.Address = socketAddress(netip.AddrPortFrom(address, s.Listen))
	if s.OneByOne {
		// What a thread of Envoy accepts in one go would all get the same instance: a connection counts
		// when it has one.
		listener.MaxConnectionsToAcceptPerSocketEvent = wrapperspb.UInt32(1)
	}
	if s.AcceptProxy {
		listener.ListenerFilters = []*listenerv3.ListenerFilter{proxyProtocolFilter(&p)}
	}
	if s.Redis != nil {
		listener.FilterChains = []*listenerv3.FilterChain{redisChain(s)}
	} else {
		listener.FilterChains = []*listenerv3.FilterChain{serviceChain(&p, f, name, s)}
	}
	if s.AcceptProxy {
		// Where the proxies are known, nobody else can claim an address.
		listener.FilterChains[0].FilterChainMatch.DirectSourcePrefixRanges = cidrRanges(f.Proxies.Networks)
	}
	if s.TLS != nil {
		serviceTLS(&p, listener, s)
	}
	if s.Redis != nil {
		redisListener(&p, listener, s, access)
	}
	return listener, p.err
}

// connectAttempts has a connection tried on other instances. Envoy may pick one again that
// it failed to connect to, until that is ejected. So for each retry there are attempts enough
// to have an instance ejected, and pauses in which Envoy gets to know of it.
func connectAttempts(proxy *tcpproxyv3.TcpProxy, s routing.Service) {
	const spare = 2 // attempts that begin before the ejection is known
	proxy.MaxConnectAttempts = wrapperspb.UInt32(1 + s.Retries*(routing.EjectedAfter(true)+spare))
	if s.Retries == 0 {
		return
	}
	proxy.BackoffOptions = &corev3.BackoffStrategy{
		BaseInterval: durationpb.New(10 * time.Millisecond), MaxInterval: durationpb.New(100 * time.Millisecond),
	}
}

// serviceChain passes connections on to a service. Clients of networks that are not let in
// match no filter chain, and Envoy closes their connections at once. The RBAC filter
// decides only when the client has sent something: too late where the server speaks
// first.
func serviceChain(p *packer, f *routing.Fleet, statPrefix string, s routing.Service) *listenerv3.FilterChain {
	p.fail(checkService(s))
	cluster := s.Cluster()
	proxy := &tcpproxyv3.TcpProxy{
		StatPrefix:       statPrefix,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout:      durationpb.New(s.IdleTimeout),
		AccessLog:        append(failedTCP(), connectionLog(p, f)...),
	}
	connectAttempts(proxy, s)
	if s.Holds {
		attemptsWhileHeld(proxy)
	}
	if s.BySource {
		proxy.HashPolicy = []*typev3.HashPolicy{{PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}}}}
	}
	maxConnectionAge(proxy, s.MaxConnectionAge)
	if f.ClustersOnDemand {
		proxy.OnDemand = &tcpproxyv3.TcpProxy_OnDemand{OdcdsConfig: adsSource(0)}
	}
	filters := []*listenerv3.Filter{keepCluster(p, cluster)}
	if s.Wake != sources.WakeTCPNever || s.Holds {
		filters = append(filters, keepNode(p))
	}
	if s.Wake != sources.WakeTCPNever {
		filters = append(filters, questionDiscovery(routing.WakeFilter(cluster)))
	}
	if s.Holds {
		filters = append(filters, questionDiscovery(routing.HoldFilter(cluster)))
	}
	if s.Paced {
		filters = append(filters, acceptDiscovery(cluster))
	}
	if s.Paced || s.Holds {
		// Envoy reads while a connection waits. So it notices a client that resets it.
		proxy.MaxEarlyDataBytes = wrapperspb.UInt32(earlyData)
	}
	if s.Rebalances {
		filters = append(filters, shedFilter(p))
	}
	if s.TLS != nil {
		// The filters by which connections wait come by the ADS stream, and no others do.
		afterHandshake(proxy, slices.ContainsFunc(filters, func(f *listenerv3.Filter) bool { return f.GetConfigDiscovery() != nil }))
	}
	return &listenerv3.FilterChain{
		Name:             "service/" + cluster,
		FilterChainMatch: &listenerv3.FilterChainMatch{SourcePrefixRanges: cidrRanges(s.Networks)},
		Filters: append(filters, &listenerv3.Filter{
			Name:       "tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(proxy)},
		}),
	}
}
