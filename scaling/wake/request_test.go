package wake

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"relay/internal/authz"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// checkOf is a check as Envoy sends it.
func checkOf(t testing.TB, change func(a *authv3.AttributeContext)) []byte {
	t.Helper()
	a := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 5}},
		}}},
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(time.Unix(100, 5000)),
			Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Headers: map[string]string{
				"accept": "text/html,*/*", "user-agent": "browser/1", authz.NodeHeader: "edge-1", authz.RouteHeader: "/shop/web_1",
			}},
		},
	}
	change(a)
	raw, err := proto.Marshal(&authv3.CheckRequest{Attributes: a})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParse(t *testing.T) {
	t.Parallel()
	usual := request{
		fleet: "edge", node: "edge-1", app: "/shop/web", port: 1, client: netip.MustParseAddr("192.0.2.1"),
		userAgent: "browser/1", came: time.Unix(100, 5000).UTC(), browser: true,
	}
	for name, tt := range map[string]struct {
		change func(a *authv3.AttributeContext)
		want   func(r *request)
	}{
		"usual":          {func(*authv3.AttributeContext) {}, func(*request) {}},
		"POST":           {func(a *authv3.AttributeContext) { a.Request.Http.Method = "POST" }, func(r *request) { r.browser = false }},
		"HEAD":           {func(a *authv3.AttributeContext) { a.Request.Http.Method = "HEAD" }, func(*request) {}},
		"curl":           {func(a *authv3.AttributeContext) { a.Request.Http.Headers["accept"] = "*/*" }, func(r *request) { r.browser = false }},
		"WebSocket":      {func(a *authv3.AttributeContext) { a.Request.Http.Headers["upgrade"] = "websocket" }, func(r *request) { r.browser = false }},
		"gRPC":           {func(a *authv3.AttributeContext) { a.Request.Http.Headers["content-type"] = "application/grpc+proto" }, func(r *request) { r.browser = false }},
		"domain":         {func(a *authv3.AttributeContext) { a.Request.Http.Host = "Shop.test:8080" }, func(r *request) { r.domain = "shop.test" }},
		"no node":        {func(a *authv3.AttributeContext) { delete(a.Request.Http.Headers, authz.NodeHeader) }, func(r *request) { r.node = "" }},
		"no address":     {func(a *authv3.AttributeContext) { a.Source = nil }, func(r *request) { r.client = netip.Addr{} }},
		"mapped address": {func(a *authv3.AttributeContext) { a.Source.Address.GetSocketAddress().Address = "::ffff:192.0.2.1" }, func(*request) {}},
		"long agent": {func(a *authv3.AttributeContext) { a.Request.Http.Headers["user-agent"] = strings.Repeat("a", 5000) },
			func(r *request) { r.userAgent = strings.Repeat("a", maxUserAgent) }},
	} {
		want := usual
		tt.want(&want)
		if got, err := parse(checkOf(t, tt.change), "edge"); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for name, change := range map[string]func(a *authv3.AttributeContext){
		"no route": func(a *authv3.AttributeContext) { delete(a.Request.Http.Headers, authz.RouteHeader) },
		"long app": func(a *authv3.AttributeContext) {
			a.Request.Http.Headers[authz.RouteHeader] = strings.Repeat("a", maxName+1) + "_0"
		},
		"no app":   func(a *authv3.AttributeContext) { a.Request.Http.Headers[authz.RouteHeader] = "_0" },
		"no port":  func(a *authv3.AttributeContext) { a.Request.Http.Headers[authz.RouteHeader] = "/shop/web_" },
		"odd port": func(a *authv3.AttributeContext) { a.Request.Http.Headers[authz.RouteHeader] = "/shop/web_-1" },
	} {
		if got, err := parse(checkOf(t, change), "edge"); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := parse([]byte("nonsense"), "edge"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nonsense: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(checkOf(f, func(*authv3.AttributeContext) {}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parse(raw, "edge")
		if err == nil && (r.app == "" || r.port < 0 || r.port > math.MaxUint16 || len(r.userAgent) > maxUserAgent) {
			t.Errorf("%+v", r)
		}
		_ = networkOf(r.client)
	})
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	for client, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "2001:db8:1:2ff::1": "2001:db8:1:200::/56"} {
		if got := networkOf(netip.MustParseAddr(client)).String(); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}

// A text is shown as it is, whoever wrote it: it cannot be HTML, and is not long.
func TestTextsAreSafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"starting: 1 of 2":                "starting: 1 of 2",
		"<script>alert('1')</script>&lt;": " script alert( 1 ) /script  lt;",
		"a\nb\tc\x00\x1b[31m\xff":         "a b c[31m",
		strings.Repeat("ä", 400):          strings.Repeat("ä", 250),
		strings.Repeat("a", 499) + "ä":    strings.Repeat("a", 499),
	} {
		if got := plain(text); got != want || !utf8.ValidString(got) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// People are told the domain and network of who had an app woken: nothing that a client makes up, and
// no address.
func TestClientIsTold(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"shop.test": "shop.test", "SHOP.test.": "shop.test", "a.b-c_d.test:443": "a.b-c_d.test", "": "", "[::1]:80": "", "shop.test/secret?x": "",
		"<script>.test": "", "a b.test": "", "\x1b[31m.test": "", "sh\u00f6p.test": "", strings.Repeat("a", 254): "",
	} {
		r := request{domain: domainOf(host), client: netip.MustParseAddr("192.0.2.77")}
		if got := r.by(); got != (Client{want, netip.MustParsePrefix("192.0.2.0/24")}) {
			t.Errorf("%q: %v, want %q", host, got, want)
		}
	}
	r := request{client: netip.MustParseAddr("2001:db8:1:2:3::4")}
	if got := r.by().Network.String(); got != "2001:db8:1::/56" {
		t.Errorf("of an IPv6 address: %s", got)
	}
}
