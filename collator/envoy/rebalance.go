package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	celv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/sources"
)

// ageJitter is how much later than its age a connection may end, in percent: connections that began
// together must not end together.
const ageJitter = 10

func maxConnectionAge(proxy *tcpproxyv3.TcpProxy, age time.Duration) {
	if age <= 0 {
		return
	}
	proxy.MaxDownstreamConnectionDuration = durationpb.New(age)
	proxy.MaxDownstreamConnectionDurationJitterPercentage = &typev3.Percent{Value: ageJitter}
}

// fewestConnections has a connection go to the instance that has the fewest of this Envoy, over all of
// its workers. The usual choice is the better one of two random instances: connections that last for
// weeks stay uneven with that. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/load_balancing_policies/least_request/v3/least_request.proto
func fewestConnections(p *packer) *clusterv3.LoadBalancingPolicy {
	return &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: p.extension("envoy.load_balancing_policies.least_request", &leastrequestv3.LeastRequest{
			SelectionMethod: leastrequestv3.LeastRequest_FULL_SCAN,
		}),
	}}}
}

// The metadata of an endpoint by which its connections end; see sources.Shed.
const (
	shedNamespace = "relay"
	shedPercent   = "shed"
	shedBefore    = "before"
)

func shedMetadata(shed sources.Shed) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		shedPercent: structpb.NewNumberValue(shed.Percent), shedBefore: structpb.NewNumberValue(float64(shed.Before)),
	}}
}

// shedFilter ends connections to an instance that has more than its share: those that the metadata of
// its endpoint says, each when its client sends something. So an update of endpoints ends them, and
// the chain never changes. It is the filter that lets connections in or not: of all network filters it
// alone looks again whenever data comes. What it cannot evaluate is no reason to end a connection. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/rbac/v3/rbac.proto
func shedFilter(p *packer) *listenerv3.Filter {
	return &listenerv3.Filter{Name: "rebalance", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&rbacv3.RBAC{
		StatPrefix:      "rebalance",
		EnforcementType: rbacv3.RBAC_CONTINUOUS,
		Rules: &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_DENY, Policies: map[string]*rbacconfigv3.Policy{"shed": {
			Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
			Principals:  []*rbacconfigv3.Principal{{Identifier: &rbacconfigv3.Principal_Any{Any: true}}},
			Condition:   shedCondition(),
		}}},
	})}}
}

// shedCondition is, in the language CEL, with two numbers in place of PERCENT and BEFORE:
//
//	double((connection.id + uint(BEFORE)) % 2^32 * 2654435761 % 2^32) * (100 / 2^32) < PERCENT &&
//	double(int(request.time)) < BEFORE
//
// The first line is a number from 0 to 100 for each connection. Ids count up, and each instance has
// every second or fourth of them: the factor (https://en.wikipedia.org/wiki/Hash_function#Fibonacci_hashing)
// spreads them evenly. By BEFORE, each time others are chosen. The time is that at which the
// connection began.
func shedCondition() *celv1.Expr {
	const space, factor = 1 << 32, 2654435761
	before := func() *celv1.Expr { return celEndpoint(shedBefore) }
	number := celCall("_%_", celCall("_+_", celField(celName("connection"), "id"), celCall("uint", before())), celUint(space))
	number = celCall("_%_", celCall("_*_", number, celUint(factor)), celUint(space))
	percent := celCall("_*_", celCall("double", number), celDouble(100.0/space))
	began := celCall("double", celCall("int", celField(celName("request"), "time")))
	return celCall("_&&_", celCall("_<_", percent, celEndpoint(shedPercent)), celCall("_<_", began, before()))
}

// celEndpoint is a number in the metadata of the endpoint that a connection goes to.
func celEndpoint(field string) *celv1.Expr {
	text := func(s string) *celv1.Expr {
		return celConst(&celv1.Constant{ConstantKind: &celv1.Constant_StringValue{StringValue: s}})
	}
	all := celField(celField(celName("xds"), "upstream_host_metadata"), "filter_metadata")
	return celCall("_[_]", celCall("_[_]", all, text(shedNamespace)), text(field))
}

func celName(name string) *celv1.Expr {
	return &celv1.Expr{ExprKind: &celv1.Expr_IdentExpr{IdentExpr: &celv1.Expr_Ident{Name: name}}}
}

func celField(of *celv1.Expr, name string) *celv1.Expr {
	return &celv1.Expr{ExprKind: &celv1.Expr_SelectExpr{SelectExpr: &celv1.Expr_Select{Operand: of, Field: name}}}
}

func celCall(function string, args ...*celv1.Expr) *celv1.Expr {
	return &celv1.Expr{ExprKind: &celv1.Expr_CallExpr{CallExpr: &celv1.Expr_Call{Function: function, Args: args}}}
}

func celConst(c *celv1.Constant) *celv1.Expr {
	return &celv1.Expr{ExprKind: &celv1.Expr_ConstExpr{ConstExpr: c}}
}

func celUint(n uint64) *celv1.Expr {
	return celConst(&celv1.Constant{ConstantKind: &celv1.Constant_Uint64Value{Uint64Value: n}})
}

func celDouble(n float64) *celv1.Expr {
	return celConst(&celv1.Constant{ConstantKind: &celv1.Constant_DoubleValue{DoubleValue: n}})
}
