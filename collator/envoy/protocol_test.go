package envoy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// get is the head of a request for the domain raw.test.
func get(path string, lines ...string) string {
	return head("GET", path, lines...)
}

func head(method, path string, lines ...string) string {
	lines = append([]string{method + " " + path + " HTTP/1.1", "Host: raw.test"}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// many is n lines of a head.
func many(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("X-%d: 1", i))
	}
	return lines
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// rawAnswers are what the app says, by path.
var rawAnswers = map[string]string{
	"/both":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"/chunked":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"/many":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + strings.Join(many(500), "\r\n") + "\r\n\r\nok",
	"/trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
	"/hints":    "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" + okAnswer,
	"/unwanted": "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
	"/refused":  "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
	"/accepted": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-App: raw\r\n\r\n",
	"/odd":      "HTTP/1.1 200 Tr\xe8s bien\r\nX-Latin: \xe9\r\nX-Tab: a\tb\r\nX-Fold: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"/old":      "HTTP/1.0 200 OK\r\n\r\nok",
	"/own":      "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: own\r\nVia: 1.1 own\r\nContent-Length: 2\r\n\r\nok",
}

// What HAProxy serves is served, and what could be understood in two ways is not.
func TestProtocols(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		app := startRawApp(t, rawAnswers)
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{changed(webApp("/raw", "raw.test"), func(p *sources.Port) { p.Endpoints = endpoints(app.address) })})
		e.eventually(t, request{host: "raw.test", path: "/"}, status(200))
		port := fmt.Sprintf("X-Forwarded-Port: %d\r\n", e.fleet.HTTP.Port())
		for _, group := range [][]exchange{upgrades, oldClients, answersOfApps, requestsOfClients, forwarded(port), refused} {
			for _, x := range group {
				x.run(t, e.fleet.HTTP.String())
			}
		}
	})
}

var upgrades = []exchange{
	{name: "TLS", request: get("/", "Connection: Upgrade", "Upgrade: TLS/1.2"), status: 200, hasNot: []string{"upgrade"}},
	{name: "several", request: get("/", "Connection: keep-alive, Upgrade", "Upgrade: TLS/1.2, HTTP/2.0"), status: 200, hasNot: []string{"upgrade"}},
	{name: "h2c", request: get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), status: 200, hasNot: []string{"upgrade", "settings"}},
	{name: "unknown", request: get("/", "Connection: Upgrade", "Upgrade: foo"), status: 200, hasNot: []string{"upgrade"}},
	{name: "part of websocket", request: get("/", "Connection: Upgrade", "Upgrade: web"), status: 200, hasNot: []string{"upgrade"}},
	{name: "more than websocket", request: get("/", "Connection: Upgrade", "Upgrade: WebSocket2"), status: 200, hasNot: []string{"upgrade"}},
	{name: "with a body", request: head("POST", "/", "Connection: Upgrade", "Upgrade: TLS/1.2", "Content-Length: 2") + "hi", status: 200, has: []string{"\r\n\r\nhi"}},
	{name: "without Connection", request: get("/", "Upgrade: foo"), status: 200},
	{name: "Connection alone", request: get("/", "Connection: upgrade"), status: 200},
	{name: "websocket", request: get("/accepted", "Connection: Upgrade", "Upgrade: WebSocket"), status: 101, has: []string{"upgrade: websocket", "X-App: raw"}},
	{name: "websocket among others", request: get("/accepted", "Connection: keep-alive, Upgrade", "Upgrade: foo, websocket"), status: 101, has: []string{"upgrade: websocket"}},
	{name: "websocket refused", request: get("/refused", "Connection: Upgrade", "Upgrade: websocket"), status: 400, has: []string{"\r\n\r\nno"}},
}

var oldClients = []exchange{
	{name: "HTTP/1.0", request: "GET / HTTP/1.0\r\nHost: raw.test\r\n\r\n", status: 200, has: []string{"connection: close", "content-length: "}},
	{name: "HTTP/1.0 kept", request: "GET / HTTP/1.0\r\nHost: raw.test\r\nConnection: keep-alive\r\n\r\n", status: 200, has: []string{"connection: keep-alive"}},
	{name: "HTTP/1.0, chunks", request: "GET /chunked HTTP/1.0\r\nHost: raw.test\r\n\r\n", status: 200, has: []string{"connection: close\r\n\r\nok"}, hasNot: []string{"chunked"}},
	{name: "HTTP/1.0, body", request: "POST / HTTP/1.0\r\nHost: raw.test\r\nContent-Length: 2\r\n\r\nhi", status: 200, has: []string{"\r\n\r\nhi"}},
	{name: "HTTP/1.0 without host", request: "GET / HTTP/1.0\r\n\r\n", status: 404},
	{name: "HTTP/1.0, host in target", request: "GET http://raw.test/ HTTP/1.0\r\n\r\n", status: 200, has: []string{"host: raw.test"}},
	{name: "HTTP/1.1, host in target", request: "GET http://raw.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n", status: 200, has: []string{"GET /x HTTP/1.1\r\nhost: raw.test\r\n"}},
}

var answersOfApps = []exchange{
	{name: "length and chunks", request: get("/both"), status: 200, has: []string{"2\r\nok\r\n0\r\n"}, hasNot: []string{"content-length"}},
	{name: "500 headers of the app", request: get("/many"), status: 200, has: []string{"\r\nx-499: 1\r\n"}},
	{name: "trailers of the app", request: get("/trailers", "TE: trailers"), status: 200, has: []string{"\r\n0\r\nx-sum: 7\r\n"}},
	{name: "early hints", request: get("/hints"), status: 200, has: []string{"HTTP/1.1 103 ", "link: </style.css>; rel=preload"}},
	{name: "odd headers of the app", request: get("/odd"), status: 200, has: []string{"x-latin: \xe9\r\n", "x-tab: a\tb\r\n", "x-fold: a b\r\n"}},
	{name: "answer until the end of the connection", request: get("/old"), status: 200, has: []string{"2\r\nok\r\n0\r\n"}},
	{name: "headers that Envoy could set", request: get("/own"), status: 200,
		has: []string{"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "server: own\r\n", "via: 1.1 own\r\n"}, hasNot: []string{"envoy"}},
}

var requestsOfClients = []exchange{
	{name: "500 headers", request: get("/", many(500)...), status: 200, has: []string{"\r\nx-499: 1\r\n"}},
	{name: "BAN", request: head("BAN", "/"), status: 200, has: []string{"BAN / HTTP/1.1"}},
	{name: "PURGE", request: head("PURGE", "/"), status: 200, has: []string{"PURGE / HTTP/1.1"}},
	{name: "PROPFIND", request: head("PROPFIND", "/"), status: 200, has: []string{"PROPFIND / HTTP/1.1"}},
	{name: "M-SEARCH", request: head("M-SEARCH", "/"), status: 200, has: []string{"M-SEARCH / HTTP/1.1"}},
	{name: "trailers", request: head("POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Sum") + "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", status: 200, has: []string{"\r\n0\r\nx-sum: 7\r\n"}},
	{name: "body that the app wants", request: head("POST", "/wanted", "Expect: 100-continue", "Content-Length: 2"), more: "hi", status: 200, has: []string{"HTTP/1.1 100 ", "expect: 100-continue", "\r\n\r\nhi"}},
	{name: "body that the app does not want", request: head("POST", "/unwanted", "Expect: 100-continue", "Content-Length: 2"), status: 417, hasNot: []string{"HTTP/1.1 100 "}},
	{name: "odd headers", request: get("/", "X-Latin: \xe9", "X-Tab: a\tb", "X-Fold: a", " b"), status: 200, has: []string{"x-latin: \xe9\r\n", "x-tab: a\tb\r\n", "x-fold: a b\r\n"}},
	{name: "path as it is", request: get("//a//b/../c/%2e%2E/%2f%5C/%7e/http://x;d=1?q=//"), status: 200, has: []string{"GET //a//b/../c/%2e%2E/%2f%5C/%7e/http://x;d=1?q=// HTTP/1.1"}},
}

// forwarded is what apps are told of a client: what marathon-lb tells them.
func forwarded(port string) []exchange {
	return []exchange{
		{name: "forwarded", request: get("/"), status: 200, has: []string{port, "x-forwarded-proto: http\r\n", "x-forwarded-for: "}},
		{name: "forged", request: get("/", "X-Forwarded-Port: 1", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"), status: 200,
			has: []string{port, "x-forwarded-proto: http\r\n", "x-forwarded-for: 192.0.2.1,"}},
		{name: "forged with underscores", request: get("/", "X_Forwarded_Port: 1", "X-Forwarded_Proto: https", "X_Forwarded-For: 192.0.2.1", "x_forwarded_host: shop.test", "Shop_Forwarded: 1",
			"X_Envoy_External_Address: 192.0.2.1", "X-Envoy_External_Address: 192.0.2.1", "X_Envoy-External-Address: 192.0.2.1", "X-Envoy-External_Address: 192.0.2.1"),
			status: 200, has: []string{port, "shop_forwarded: 1"}, hasNot: []string{"x_forwarded", "x-forwarded_", "x_envoy", "x-envoy_", "external_address", "192.0.2.1"}},
		{name: "kept", request: get("/", "X-Request-Id: of-the-client", "X-Forwarded-Host: shop.test"), status: 200,
			has: []string{"x-request-id: of-the-client\r\n", "x-forwarded-host: shop.test\r\n"}},
	}
}

var refused = []exchange{
	{name: "length and chunks of a client", request: head("POST", "/", "Content-Length: 2", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n", status: 400},
	{name: "two lengths", request: head("POST", "/", "Content-Length: 2", "Content-Length: 3") + "hi!", status: 400},
	{name: "unknown coding", request: head("POST", "/", "Transfer-Encoding: xchunked") + "0\r\n\r\n", status: 501},
	{name: "two codings", request: head("POST", "/", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n", status: 501},
	{name: "two hosts", request: get("/", "Host: raw.test"), status: 404},
	{name: "no host", request: "GET / HTTP/1.1\r\n\r\n", status: 400},
	{name: "NUL", request: get("/", "X-A: a\x00b"), status: 400},
	{name: "control character", request: get("/", "X-A: a\x01b"), status: 400},
	{name: "space in a name", request: get("/", "X A: 1"), status: 400},
	{name: "space after a name", request: get("/", "X-A : 1"), status: 400},
	{name: "bad method", request: head("G(T", "/"), status: 400},
	{name: "fragment", request: get("/a#b"), status: 400},
	{name: "CONNECT", request: "CONNECT raw.test:80 HTTP/1.1\r\nHost: raw.test:80\r\n\r\n", status: 404},
	{name: "too many headers", request: get("/", many(1001)...), status: 431},
	{name: "too large a head", request: get("/", "X-A: "+strings.Repeat("a", 61<<10)), status: 431},
}

// A connection stays while there are requests, and not much longer.
func TestIdleClients(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.Options.ClientIdleTimeout = 300 * time.Millisecond })
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{e.app("/a", "a.test")})
	e.eventually(t, request{host: "a.test", path: "/"}, status(200))
	conn, err := net.Dial("tcp", e.fleet.HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for range 2 {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%+v, %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v, want its end", err)
	}
}
