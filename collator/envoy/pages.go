package envoy

import (
	"slices"
	"strconv"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/failure"
)

// Statuses that routes answer with. Their pages are among the local replies, so that they
// take no room in each scope. A misdirected request comes again, by a connection for its
// host (https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request).
const (
	badRequest  = failure.BadRequest
	forbidden   = failure.Forbidden
	misdirected = failure.Misdirected
	maintenance = failure.StatusMaintenance
)

const (
	asItIs     = "%LOCAL_REPLY_BODY%"
	failedCode = "%RESP(" + failure.Header + ")%"
	// requestID is the one that apps see. A client may have chosen it, so what could be more than an
	// id is left out: it must bring no HTML into the page.
	requestID = "%CEL(size(request.id) <= 100 && request.id.matches('^[A-Za-z0-9_.:=+/-]+$') ? request.id : '-')%"
	htmlPage  = "text/html; charset=utf-8"
)

// answerFormat is the page that visitors see. HTML does without the other tags. gRPC clients get
// the same words without tags: Envoy writes them into grpc-message, and a status that fits that
// of HTTP into grpc-status (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
var answerFormat = either("", `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Error</title><main><h1>Error: `) +
	failedCode + either(": ", "</h1><p>") + asItIs + either(" ", "</p><p>") + "Request " + requestID

// either is one text for gRPC clients, and another for all others.
func either(grpc, others string) string {
	return `%CEL('content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc') ? '` + grpc + `' : '` + others + `')%`
}

// answer has a route answer with a status.
func answer(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

// localReplies has Envoy say with each answer of its own which failure it is. The first mapper
// that fits counts. They are in each filter chain, so there is one for each code, and what is
// common is in the format. A fleet may have pages of its own.
func localReplies(p *packer, pages failure.Pages) *hcmv3.LocalReplyConfig {
	redirects := &hcmv3.ResponseMapper{
		Filter: hasStatus(accesslogv3.ComparisonFilter_LE, 399), BodyFormatOverride: text(asItIs, "text/plain; charset=utf-8"),
	}
	config := &hcmv3.LocalReplyConfig{
		BodyFormat: text(commonFormat(pages), htmlPage),
		Mappers:    []*hcmv3.ResponseMapper{redirects, askedAppReplies()},
	}
	for _, code := range failure.Codes() {
		config.Mappers = append(config.Mappers, withPages(pages, code.Name, repliesWith(p, code))...)
	}
	return config
}

// askedAppReplies has clients get what an app says that is asked about requests (AUTH_APP), when it refuses one: Envoy has
// written down its status and headers, and this keeps the body and its type. A gRPC client gets words that are for it. A header by
// which Envoy says what failed is not for the app to set.
func askedAppReplies() *hcmv3.ResponseMapper {
	return &hcmv3.ResponseMapper{
		Filter:             allOf(hasFlags("UAEX"), hasStatus(accesslogv3.ComparisonFilter_LE, 499), refusedByOthers(), asksNotByGRPC()),
		BodyFormatOverride: text(asItIs, "text/plain; charset=utf-8"),
		HeadersToAdd:       []*corev3.HeaderValueOption{headerOption(failure.Header, failure.Other, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS)},
	}
}

// repliesWith are the mappers of a code.
func repliesWith(p *packer, code failure.Code) (mappers []*hcmv3.ResponseMapper) {
	if code.Said != 0 {
		said := replyWith(code, hasStatus(accesslogv3.ComparisonFilter_EQ, code.Said))
		said.Body = nil
		mappers = append(mappers, said)
		code.By = slices.DeleteFunc(slices.Clone(code.By), func(status uint32) bool { return status == code.Said })
		if len(code.By)+len(code.Flags) == 0 {
			return mappers
		}
	}
	mapper := replyWith(code, isOwnAnswer(p, code))
	if code.Name == failure.TimedOut {
		// Not "unavailable", which has clients send the request again: the app may be at it.
		late := replyWith(code, allOf(asksByGRPC(), mapper.Filter))
		late.HeadersToAdd = append(late.HeadersToAdd,
			headerOption("grpc-status", strconv.Itoa(int(codes.DeadlineExceeded)), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		mappers = append(mappers, late)
	}
	return append(mappers, mapper)
}

// replyWith answers with a code what a filter fits.
func replyWith(code failure.Code, filter *accesslogv3.AccessLogFilter) *hcmv3.ResponseMapper {
	mapper := &hcmv3.ResponseMapper{
		Filter: filter,
		Body:   inline(code.Text),
		HeadersToAdd: []*corev3.HeaderValueOption{
			headerOption(failure.Header, code.Name, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		},
	}
	if code.Status != 0 {
		mapper.StatusCode = wrapperspb.UInt32(code.Status)
	}
	return mapper
}

// isOwnAnswer fits Envoy's own answers of a code.
func isOwnAnswer(p *packer, code failure.Code) *accesslogv3.AccessLogFilter {
	var any []*accesslogv3.AccessLogFilter
	for _, status := range code.By {
		any = append(any, hasStatus(accesslogv3.ComparisonFilter_EQ, status))
	}
	if len(code.Flags) > 0 {
		any = append(any, hasFlags(code.Flags...))
	}
	switch filter := anyOf(any...); {
	case len(any) == 0:
		return hasStatus(accesslogv3.ComparisonFilter_GE, 400)
	case code.Name == failure.NoSuchPath:
		return allOf(filter, expression(p, "has(xds.virtual_host_name)"))
	case code.Name == failure.Crashed:
		return anyOf(filter, allOf(hasFlags("UH"), expression(p, crashes)))
	default:
		return filter
	}
}

func text(format, contentType string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{
		Format:      &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline(format)},
		ContentType: contentType,
	}
}

func inline(s string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
}
