package envoy

import (
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// errorPages tells visitors what is wrong, by Envoy's response flag
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage).
// The first match counts; a request that was retried has the flag of its last
// failure too.
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
}

func localReplies() *hcmv3.LocalReplyConfig {
	config := &hcmv3.LocalReplyConfig{}
	for _, page := range errorPages {
		config.Mappers = append(config.Mappers, &hcmv3.ResponseMapper{
			Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
				ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: page.flags},
			}},
			StatusCode: wrapperspb.UInt32(page.status),
			BodyFormatOverride: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
					Specifier: &corev3.DataSource_InlineString{InlineString: errorPage(page.title, page.text)},
				}},
				ContentType: "text/html; charset=utf-8",
			},
		})
	}
	return config
}

func errorPage(title, text string) string {
	page := `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>` + title + `</title></head>
<body><h1>` + title + `</h1><p>` + text + `</p></body></html>
`
	// The page is a format string to Envoy.
	return strings.ReplaceAll(page, "%", "%%")
}
