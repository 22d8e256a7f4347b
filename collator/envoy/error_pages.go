package envoy

import (
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/internal/failure"
)

// pagesMetadata is the metadata of listeners that has the texts of a fleet's own error pages. There
// they are once for each listener, and the format in each filter chain only names them. What is
// in them is not looked at again: a percent sign is one.
const pagesMetadata = "relay.pages"

// pageTexts is that metadata; nil for a fleet with the built-in pages.
func pageTexts(pages failure.Pages) *corev3.Metadata {
	if len(pages) == 0 {
		return nil
	}
	all := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for name, page := range pages {
		texts := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
		for i, text := range page.Texts {
			texts.Fields[strconv.Itoa(i)] = structpb.NewStringValue(text)
		}
		all.Fields[name] = structpb.NewStructValue(texts)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{pagesMetadata: all}}
}

// pageFormat is the format of a page: its texts, and in between what is of the request. The
// placeholders of the request bring no HTML into it. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#config-access-log-format
func pageFormat(name string, page failure.Page) string {
	var format strings.Builder
	for i, text := range page.Texts {
		if text != "" {
			fmt.Fprintf(&format, "%%METADATA(LISTENER:%s:%s:%d)%%", pagesMetadata, name, i)
		}
		if i < len(page.Placeholders) {
			format.WriteString(pageValues[page.Placeholders[i]])
		}
	}
	return format.String()
}

var pageValues = map[string]string{
	failure.PageCode:      failedCode,
	failure.PageStatus:    "%RESPONSE_CODE%",
	failure.PageText:      asItIs,
	failure.PageRequestID: requestID,
	failure.PageDomain:    `%CEL(request.host.matches('^[A-Za-z0-9._-]+(:[0-9]+)?$') ? re.extract(request.host, '^([^:]*).*$', '\\1') : '-')%`,
}

// grpcFormat is answerFormat for gRPC clients alone. It is in many mappers: so it does without an
// expression. The text of a gRPC status is encoded, so that whatever the id is, it is no more.
const grpcFormat = failedCode + ": " + asItIs + " Request %REQ(x-request-id):100%"

// withPages has mappers of a code answer with the fleet's own page for it: that of the code, or else
// the default one, which is the format of all. gRPC clients get what they get without pages. So each
// mapper is there twice.
func withPages(pages failure.Pages, code string, mappers []*hcmv3.ResponseMapper) (all []*hcmv3.ResponseMapper) {
	name, page, ok := pages.Of(code)
	if !ok {
		return mappers
	}
	for _, mapper := range mappers {
		all = append(all, &hcmv3.ResponseMapper{
			Filter: allOf(asksByGRPC(), mapper.Filter), StatusCode: mapper.StatusCode, Body: mapper.Body,
			BodyFormatOverride: text(grpcFormat, "text/plain; charset=utf-8"), HeadersToAdd: mapper.HeadersToAdd,
		})
		if name != failure.DefaultPage {
			mapper.BodyFormatOverride = text(pageFormat(name, page), htmlPage)
		}
		all = append(all, mapper)
	}
	return all
}

// commonFormat is the format of answers whose code has no page of its own.
func commonFormat(pages failure.Pages) string {
	if page, ok := pages[failure.DefaultPage]; ok {
		return pageFormat(failure.DefaultPage, page)
	}
	return answerFormat
}
