package envoy

import (
	"strconv"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// errorPages tells visitors what is wrong, by Envoy's response flag
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage),
// or by the status where there is no flag. The first match counts. A request that was
// retried has the flag of its last failure, too.
var errorPages = []struct {
	flags       []string
	status      uint32
	title, text string
}{
	{[]string{"NR"}, 404, "Not found", "There is no application at this address."},
	{[]string{"NC"}, 503, "Starting up", "The application is being set up. Please try again in a moment."},
	{[]string{"UH"}, 503, "Offline", "The application is offline: none of its instances is running."},
	{[]string{"UO"}, 503, "Busy", "The application has too much to do. Please try again in a moment."},
	{[]string{"UT"}, 504, "Timed out", "The application took too long to answer."},
	{[]string{"UF"}, 502, "Unreachable", "The application does not accept connections."},
	{[]string{"UC", "UR"}, 502, "Interrupted", "The application closed the connection before it answered."},
	{[]string{"UPE"}, 502, "Bad answer", "The application sent an answer that is not HTTP."},
	{nil, badRequest, "Bad request", "The address or the request is not valid."},
	{nil, forbidden, "Forbidden", "Access to this application is restricted."},
	{nil, misdirected, "Misdirected request", "This connection is for another address. Please try again."},
}

// Statuses that routes answer with. Their pages are among the local replies, so that they
// take no room in each scope. A misdirected request comes again, by a connection for its
// host (https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request).
const (
	badRequest  = 400
	forbidden   = 403
	misdirected = 421
)

// answer has a route answer with a status.
func answer(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

// localReplies has Envoy answer with these pages, or gRPC clients in their way.
func localReplies() *hcmv3.LocalReplyConfig {
	config := &hcmv3.LocalReplyConfig{Mappers: grpcReplies()}
	for _, page := range errorPages {
		mapper := &hcmv3.ResponseMapper{
			StatusCode:         wrapperspb.UInt32(page.status),
			BodyFormatOverride: text(errorPage(page.title, page.text), "text/html; charset=utf-8"),
		}
		if mapper.Filter = hasFlags(page.flags...); len(page.flags) == 0 {
			mapper.Filter = hasStatus(page.status)
		}
		config.Mappers = append(config.Mappers, mapper)
	}
	return config
}

// grpcReplies answers gRPC clients: Envoy writes the body of an answer into grpc-message, and
// a status that fits that of HTTP into grpc-status
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). They get
// Envoy's own words, which are one line, and not the pages. These mappers are in each filter
// chain, so they are few.
func grpcReplies() []*hcmv3.ResponseMapper {
	reply := func(line string, also ...*accesslogv3.AccessLogFilter) *hcmv3.ResponseMapper {
		mapper := &hcmv3.ResponseMapper{Filter: asksByGRPC(), BodyFormatOverride: text(line, "text/plain; charset=utf-8")}
		if len(also) > 0 {
			mapper.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
				AndFilter: &accesslogv3.AndFilter{Filters: append(also, asksByGRPC())},
			}}
		}
		return mapper
	}
	const asItIs = "%LOCAL_REPLY_BODY%"
	late := reply(asItIs, hasFlags("UT"))
	// Not "unavailable", which has clients send the request again: the app may be at it.
	late.HeadersToAdd = []*corev3.HeaderValueOption{
		headerOption("grpc-status", strconv.Itoa(int(codes.DeadlineExceeded)), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}
	return []*hcmv3.ResponseMapper{
		reply("There is no application at this address.", hasFlags("NR")),
		late,
		reply(asItIs),
	}
}

func hasFlags(flags ...string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: flags},
	}}
}

func asksByGRPC() *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{
		HeaderFilter: &accesslogv3.HeaderFilter{Header: &routev3.HeaderMatcher{
			Name: "content-type",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "application/grpc"},
			}},
		}},
	}}
}

func hasStatus(status uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			// Envoy wants the key of a runtime value that would override this one.
			Op: accesslogv3.ComparisonFilter_EQ, Value: &corev3.RuntimeUInt32{DefaultValue: status, RuntimeKey: "relay.unused"},
		}},
	}}
}

func text(format, contentType string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: format},
		}},
		ContentType: contentType,
	}
}

func errorPage(title, text string) string {
	page := `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>` + title + `</title></head>
<body><h1>` + title + `</h1><p>` + text + `</p></body></html>
`
	// Envoy takes the page for a format string.
	return strings.ReplaceAll(page, "%", "%%")
}
