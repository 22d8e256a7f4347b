package wake

import (
	"strconv"
	"strings"
	"unicode"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"relay/internal/authz"
	"relay/internal/failure"
)

const (
	// refresh is after how many seconds a browser asks again how far an app is, and retryAfter
	// after how many a client may try again that could not wait.
	refresh, retryAfter = 2, 5
	// maxText is how long the text of a page may be, in bytes.
	maxText = 500
)

// letThrough has Envoy go on with a request.
func letThrough() *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}
}

// denied has Envoy answer a request itself, with the page of a status.
func denied(status int, text string, headers ...*corev3.HeaderValueOption) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)}, DynamicMetadata: authz.Refusal(),
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Headers: headers, Body: plain(text),
		}},
	}
}

// starting answers who cannot wait, or waited too long.
func starting(text string) *authv3.CheckResponse {
	return denied(failure.StatusStarting, text, header("retry-after", retryAfter))
}

// page answers a browser that is shown how far the app is, and asks again by itself.
func page(text string) *authv3.CheckResponse {
	return denied(failure.StatusAsleep, text+" This page loads again by itself.", header("retry-after", refresh), header("refresh", refresh))
}

func header(name string, seconds int) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: strconv.Itoa(seconds)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// plain returns a text that is the same as HTML and as plain text, on one line and not too long:
// it has reasons of other programs in it.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>&"'`+"`", r), unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

// progress says how far an app is.
func progress(state State) string {
	switch {
	case state.Text != "":
		return state.Text
	case state.Phase == Unavailable:
		return "What runs the application does not answer at the moment. It is started as soon as that does."
	case state.Phase == Asleep:
		return "The application sleeps. It is started in a moment."
	}
	return "The application is starting."
}
