package envoy_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"relay/admin/page/pagetest"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/failure"
	"relay/sources"
	"relay/traffic"
)

// answers has all checks answered so; nil has them answered as usual.
func (w *waker) answers(answer func() *authv3.CheckResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// page answers a check as Relay does for a browser that is shown how far an app is.
func (w *waker) page(status uint32, text, refresh string) *authv3.CheckResponse {
	header := func(name, value string) *corev3.HeaderValueOption {
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
	}
	return &authv3.CheckResponse{Status: &statuspb.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Body: text, Headers: []*corev3.HeaderValueOption{header("retry-after", "1"), header("refresh", refresh)},
	}}}
}

// sleeping starts an Envoy with an app that sleeps.
func sleeping(t *testing.T, domain string) *realEnvoy {
	t.Helper()
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.Scaling = true })
	e.c.SyncCertificates("vault", nil, nil)
	app := *e.app("/web", domain)
	app.Gated = true
	e.c.SyncApps([]*sources.App{&app})
	e.eventually(t, request{host: domain, path: "/"}, fromApp("/web"))
	return e
}

// What Relay refuses by a status of its own is that code, with the page, the headers and the text
// that Relay gives, and a failure that is reported.
func TestRefusedByRelay(t *testing.T) {
	t.Parallel()
	e := sleeping(t, "web.test")
	text := "It starts: 1 of 2 tasks run."
	for status, want := range map[uint32]struct{ code, text string }{
		failure.StatusAsleep: {"asleep", text}, failure.StatusStarting: {"starting", text},
		failure.StatusCrashed: {"crashed", ""}, failure.StatusBusy: {"busy", ""}, failure.StatusMaintenance: {"maintenance", ""},
	} {
		e.waker.answers(func() *authv3.CheckResponse { return e.waker.page(status, text, "1") })
		code, _ := failure.Of(want.code)
		if want.text == "" {
			want.text = code.Text
		}
		a, err := say(e.fleet.HTTP.String(), "GET / HTTP/1.1\r\nHost: web.test\r\nX-Request-Id: "+want.code+"\r\n\r\n")
		if err != nil || a.status != 503 || a.code != want.code || !strings.Contains(a.body, "<p>"+want.text+"</p>") ||
			a.header.Get("Retry-After") != "1" || a.header.Get("Refresh") != "1" {
			t.Errorf("%d: got %+v, %v", status, a, err)
		}
		f := e.reported(t, func(f traffic.Failure) bool { return f.Code == want.code })
		if f.App != "/web" || f.Status != 503 {
			t.Errorf("%s: Envoy reports %+v", want.code, f)
		}
		a, err = say(e.fleet.HTTP.String(), "POST /a.B/C HTTP/1.1\r\nHost: web.test\r\nContent-Type: application/grpc\r\nX-Request-Id: g\r\nContent-Length: 0\r\n\r\n")
		if err != nil || a.header.Get("Grpc-Status") != "14" || a.header.Get("Grpc-Message") != want.code+": "+want.text+" Request g" {
			t.Errorf("%s by gRPC: %+v, %v", want.code, a.header, err)
		}
	}
}

// The page of an app that wakes loads itself again until the app is there. Error pages have no
// mistake that keeps anybody from reading them.
func TestWakePageInABrowser(t *testing.T) {
	t.Parallel()
	e := sleeping(t, "127.0.0.1")
	e.waker.answers(func() *authv3.CheckResponse { return e.waker.page(failure.StatusAsleep, "It sleeps.", "3600") })
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate("http://"+e.fleet.HTTP.String()+"/"))
	pagetest.WaitFor(t, ctx, `document.body.innerText.includes("It sleeps.") && document.querySelector("h1").innerText == "Error: asleep"`)
	accessible(t, ctx)

	var asked atomic.Int64
	e.waker.answers(func() *authv3.CheckResponse {
		return e.waker.page(failure.StatusAsleep, fmt.Sprintf("It starts: step %d.", asked.Add(1)), "1")
	})
	pagetest.Do(t, ctx, chromedp.Navigate("http://"+e.fleet.HTTP.String()+"/"))
	pagetest.WaitFor(t, ctx, `/step [2-9]/.test(document.body.innerText)`)
	e.waker.answers(nil)
	pagetest.WaitFor(t, ctx, `document.body.innerText.startsWith("app /web")`)

	pagetest.Do(t, ctx, chromedp.Navigate(fmt.Sprintf("http://localhost:%d/", e.fleet.HTTP.Port())))
	pagetest.WaitFor(t, ctx, `document.querySelector("h1").innerText == "Error: no-such-domain"`)
	accessible(t, ctx)
}

// accessible holds a page to axe.
func accessible(t *testing.T, ctx context.Context) {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "admin", "page", "testdata", "axe", "axe.min.js.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	pagetest.Run(t, ctx, chromedp.Evaluate[bool](string(source)+";true"))
	const violations = `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html.slice(0, 200)).join(" | ")))`
	for _, v := range pagetest.Run(t, ctx, chromedp.Evaluate[[]string](violations, chromedp.EvalAwaitPromise)) {
		t.Error(v)
	}
}
