package envoy

import (
	"maps"
	"slices"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	fileaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	grpcaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	otelaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3"
	withoutqueryv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/collator/routing"
	"relay/internal/failure"
)

// CollectorCluster is the cluster by which Envoy reaches the collector of access logs: "relay bootstrap" calls it so.
// An Envoy whose bootstrap has none drops the lines.
const CollectorCluster = "access-log"

// The name and value by which a bootstrap tells Relay that it has this cluster.
const CollectorTold, CollectorThere = "access_log", "collector"

// accessText is what people read of a request. No query string is in any field: they have tokens.
const accessText = "%REQ(:METHOD)% %REQ(:AUTHORITY):255%%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH):1024% %RESPONSE_CODE%"

// accessFields are what a line has, with the names that the Elastic Common Schema and the conventions of
// OpenTelemetry have for it, and relay.* for the rest. What clients choose has a limit. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
func accessFields(fleet string) map[string]string {
	return map[string]string{
		"event.dataset":             "relay.access",
		"http.request.method":       "%REQ(:METHOD):32%",
		"http.request.id":           "%REQ(X-REQUEST-ID):64%",
		"http.request.body.bytes":   "%BYTES_RECEIVED%",
		"http.response.status_code": "%RESPONSE_CODE%",
		"http.response.body.bytes":  "%BYTES_SENT%",
		"http.version":              "%PROTOCOL%",
		"url.domain":                "%REQ(:AUTHORITY):255%",
		"url.path":                  "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH):1024%",
		"client.address":            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
		"user_agent.original":       "%REQ(USER-AGENT):256%",
		"destination.address":       "%UPSTREAM_HOST%",
		"tls.version":               "%DOWNSTREAM_TLS_VERSION%",
		"relay.duration_ms":         "%DURATION%",
		"relay.fleet":               fleet,
		"relay.cluster":             "%UPSTREAM_CLUSTER%",
		"relay.flags":               "%RESPONSE_FLAGS%",
		"relay.error":               "%RESP(" + failure.Header + "):64%",
	}
}

// accessLog is what the fleet asks for: a line for each request.
func accessLog(p *packer, f *routing.Fleet) []*accesslogv3.AccessLog {
	fields := accessFields(f.Name)
	switch {
	case f.AccessLog.File != "":
		return []*accesslogv3.AccessLog{accessLogBy(p, fileLog(p, f.AccessLog.File, accessText, fields), nil)}
	case f.AccessLog.Collector:
		plain, odd := plainRequests()
		whole := accessLogBy(p, collectorLog(p, accessText, fields), plain)
		for _, name := range []string{"url.domain", "url.path", "user_agent.original", "http.request.id"} {
			delete(fields, name)
		}
		fields["relay.odd"] = "true"
		return []*accesslogv3.AccessLog{whole, accessLogBy(p, collectorLog(p, "%REQ(:METHOD)% %RESPONSE_CODE%", fields), odd)}
	}
	return nil
}

// connectionLog is what the fleet asks for: a line for each connection to a TCP service, when it has ended. Nothing in it is
// chosen by the client.
func connectionLog(p *packer, f *routing.Fleet) []*accesslogv3.AccessLog {
	const words = "TCP %UPSTREAM_CLUSTER% %RESPONSE_FLAGS%"
	fields := map[string]string{
		"event.dataset":       "relay.access",
		"network.transport":   "tcp",
		"client.address":      "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
		"source.bytes":        "%BYTES_RECEIVED%",
		"destination.address": "%UPSTREAM_HOST%",
		"destination.bytes":   "%BYTES_SENT%",
		"tls.version":         "%DOWNSTREAM_TLS_VERSION%",
		"relay.duration_ms":   "%DURATION%",
		"relay.fleet":         f.Name,
		"relay.cluster":       "%UPSTREAM_CLUSTER%",
		"relay.flags":         "%RESPONSE_FLAGS%",
	}
	switch {
	case f.AccessLog.File != "":
		return []*accesslogv3.AccessLog{accessLogBy(p, fileLog(p, f.AccessLog.File, words, fields), nil)}
	case f.AccessLog.Collector:
		return []*accesslogv3.AccessLog{accessLogBy(p, collectorLog(p, words, fields), nil)}
	}
	return nil
}

func accessLogBy(p *packer, config proto.Message, filter *accesslogv3.AccessLogFilter) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: CollectorCluster, Filter: filter, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: p.pack(config)},
	}
}

// plainRequests fits requests that have nothing but ASCII in what the client chooses of a line, and odd all others. In
// OpenTelemetry's protocol Envoy sends the bytes as they came, though a text has to be UTF-8: a collector would refuse
// the line with all that were sent with it. So of odd requests these fields are left out.
func plainRequests() (plain, odd *accesslogv3.AccessLogFilter) {
	var all, some []*accesslogv3.AccessLogFilter
	for _, name := range []string{":authority", ":path", "user-agent", "x-request-id"} {
		header := func(otherwise bool) *accesslogv3.AccessLogFilter {
			return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{
				HeaderFilter: &accesslogv3.HeaderFilter{Header: &routev3.HeaderMatcher{
					Name: name, TreatMissingHeaderAsEmpty: true, InvertMatch: otherwise,
					HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
						MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(`[\t -~]*`, false)},
					}},
				}},
			}}
		}
		all, some = append(all, header(false)), append(some, header(true))
	}
	return allOf(all...), anyOf(some...)
}

// withoutQuery is the extension for REQ_WITHOUT_QUERY.
func withoutQuery(p *packer) []*corev3.TypedExtensionConfig {
	return []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.req_without_query", &withoutqueryv3.ReqWithoutQuery{})}
}

func fileLog(p *packer, path, words string, fields map[string]string) *fileaccesslogv3.FileAccessLog {
	all := map[string]*structpb.Value{
		"@timestamp": structpb.NewStringValue("%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%"), "message": structpb.NewStringValue(words),
	}
	for name, format := range fields {
		all[name] = structpb.NewStringValue(format)
	}
	return &fileaccesslogv3.FileAccessLog{Path: path, AccessLogFormat: &fileaccesslogv3.FileAccessLog_LogFormat{
		LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: all}}, OmitEmptyValues: true, Formatters: withoutQuery(p),
		},
	}}
}

// collectorLog sends lines by OpenTelemetry's protocol. Of those that Envoy has it is the one that collectors take (Vector, the
// OpenTelemetry Collector, Elastic), and each call ends: calls that a collector does not answer are given up
// after a while, and the cluster in the bootstrap allows a few at a time. So one that hangs costs a few hundred kB.
func collectorLog(p *packer, words string, fields map[string]string) *otelaccesslogv3.OpenTelemetryAccessLogConfig {
	text := func(value string) *commonv1.AnyValue {
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}
	}
	attributes := &commonv1.KeyValueList{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		attributes.Values = append(attributes.Values, &commonv1.KeyValue{Key: name, Value: text(fields[name])})
	}
	return &otelaccesslogv3.OpenTelemetryAccessLogConfig{
		// Envoys before 1.37 know no other place for it.
		//lint:ignore SA1019 see above
		CommonConfig: &grpcaccesslogv3.CommonGrpcAccessLogConfig{
			LogName: "relay.access", TransportApiVersion: corev3.ApiVersion_V3, BufferFlushInterval: durationpb.New(time.Second),
			GrpcService: &corev3.GrpcService{Timeout: durationpb.New(5 * time.Second), TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: CollectorCluster},
			}},
		},
		ResourceAttributes: &commonv1.KeyValueList{Values: []*commonv1.KeyValue{{Key: "service.name", Value: text("envoy")}}},
		Body:               text(words), Attributes: attributes, Formatters: withoutQuery(p),
	}
}
