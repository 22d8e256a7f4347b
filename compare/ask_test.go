package compare_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/compare"
)

// quick are settings with which a test does not wait.
func quick() compare.Asking {
	return compare.Asking{Method: http.MethodGet, Rate: 100_000, Concurrency: 4, Timeout: time.Minute}
}

// noAnswer is the time-out where a test waits for the end of it. Who answers does so within it.
const noAnswer = 4 * time.Second

// page is a handler that answers with a body.
func page(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// ask asks both sides, the new one only if it is not nil.
func ask(t *testing.T, sides *compare.Sides, asking compare.Asking, from compare.Addresses) *compare.Report {
	t.Helper()
	if from.OldAdmin == "" {
		from.OldAdmin = "none"
	}
	if err := asking.Read(from); err != nil {
		t.Fatal(err)
	}
	r := compare.NewReport()
	sides.Ask(t.Context(), r, asking)
	return r
}

// hijack answers with bytes that need not be HTTP.
func hijack(bytes string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, bytes)
		conn.Close()
	}
}

func oneApp(t *testing.T) *compare.Sides {
	t.Helper()
	return sidesOf(t, settings{}, app{id: "/a", labels: map[string]string{vhost: "a.test"}})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	sides := oneApp(t)
	var count atomic.Int64
	headers := func(body string, lines ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(lines); i += 2 {
				w.Header().Add(lines[i], lines[i+1])
			}
			fmt.Fprint(w, body)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	nonce := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, text, rand.Text()) }
	}
	loop := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://a.test/", http.StatusFound) }
	huge := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
				return
			}
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	long := "<p>one two three four five six seven eight nine ten eleven twelve</p>"
	tests := []struct {
		name     string
		old, new http.HandlerFunc
		want     string // verdict kind | part of the old words | part of the new words
	}{
		{"same", page("hello"), page("hello"), ""},
		{"other status", page("hello"), status(404), "different status | 200 | 404"},
		{"other body", page("hello from a"), page("hello from b"), "different body | 12 bytes | 12 bytes"},
		{"a nonce", nonce(long + "<i id=%s>"), nonce(long + "<i id=%s>"), ""},
		{"a nonce and another page", nonce("<p>this is a <i id=%s>"), nonce("<p>that was b <i id=%s>"), "different body | text/html | text/html"},
		{"a nonce and nearly the same page", nonce(long + "<i id=%s>"), nonce(long + " thirteen <i id=%s>"), "cannot-tell body | bytes | bytes"},
		{"nothing but a nonce", nonce("%s"), nonce("%s"), "cannot-tell body | bytes | bytes"},
		{"no body", status(200), status(200), "cannot-tell body | 0 bytes | 0 bytes"},
		{"no content, but a tag", headers("", "ETag", `"1"`), headers("", "ETag", `"1"`), ""},
		{"another server", headers("x", "Server", "nginx"), headers("x", "Server", "gunicorn"), "different body | Server: nginx | Server: gunicorn"},
		{"another header", headers("x", "Cache-Control", "no-store"), headers("x"), "different header | Cache-Control: no-store | Cache-Control: none"},
		{"a header that does not matter", headers("x", "X-Envoy-Upstream-Service-Time", "3"), headers("x"), ""},
		{"a header that changes", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", "nonce-"+rand.Text())
			fmt.Fprint(w, "x")
		}, headers("x", "Content-Security-Policy", "y"), ""},
		{"names of cookies", headers("x", "Set-Cookie", "session=secret1"), headers("x", "Set-Cookie", "other=secret2"), "different header | Set-Cookie: session | Set-Cookie: other"},
		{"values of cookies", headers("x", "Set-Cookie", "session=secret1"), headers("x", "Set-Cookie", "session=secret2"), ""},
		{"sticky cookies", headers("x", "Set-Cookie", "mesosphere_server_id=1"), headers("x", "Set-Cookie", "mesosphere_server_id_0123abcd=2"), "expected sticky | cookie | cookie"},
		{"sticky on one side", headers("x", "Set-Cookie", "mesosphere_server_id=1"), headers("x"), "different sticky | on | off"},
		{"HSTS on plain HTTP", headers("x", "Strict-Transport-Security", "max-age=1"), headers("x"), "expected hsts | max-age=1 | none"},
		{"where a redirect leads", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/one")
			w.WriteHeader(302)
		}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/two"); w.WriteHeader(302) }, "different location | /one | /two"},
		{"the query of a redirect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/one?token=secret1")
			w.WriteHeader(302)
		}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/one?token=secret2")
			w.WriteHeader(302)
		}, "different location | Location: /one?… | Location: /one?…"},
		{"the fragment of a redirect, and a user in it", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://joe:secret1@sso.test/#access_token=secret1")
			w.WriteHeader(302)
		}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://joe:secret2@sso.test/#access_token=secret2")
			w.WriteHeader(302)
		}, "different location | Location: https://…@sso.test/#… | Location: https://…@sso.test/#…"},
		{"redirects without end", loop, loop, ""},
		{"a body without end", huge, huge, ""},
		{"errors of both proxies", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "haproxy") },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "envoy") }, "expected body | HAProxy | Relay"},
		{"now this, now that", page("x"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(200 + 300*(count.Add(1)%2))) }, "cannot-tell status | 200 | 50"},
		{"garbage", page("x"), hijack("no http at all\r\n\r\n"), "different failed | 200 | the answer is no HTTP"},
		{"closed at once", page("x"), hijack(""), "different failed | 200 | closed without an answer"},
		{"a body that breaks off", page("x"), hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"), "different failed | 200 | breaks off"},
		{"no answer in time", page("x"), hang, "different failed | 200 | no answer in time"},
		{"control characters", page("x"), hijack("HTTP/1.1 200 OK\r\nCache-Control: a\x1b[31m\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\n\r\nx"), "different"},
		{"neither answers", hijack(""), hijack(""), "cannot-tell failed | closed | closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			old, new := httptest.NewServer(test.old), httptest.NewServer(test.new)
			defer old.Close()
			defer new.Close()
			asking := quick()
			if test.name == "no answer in time" {
				asking.Timeout = noAnswer
			}
			r := ask(t, sides, asking, compare.Addresses{Old: old.URL, New: new.URL})
			got := ""
			for _, f := range r.Findings {
				got += fmt.Sprintf("%s %s | %s | %s\n", f.Verdict, f.Kind, f.Old, f.New)
			}
			ok := (test.want == "") == (got == "") && len(r.Findings) <= 1
			parts := strings.Split(test.want, " | ")
			for i, part := range strings.Split(strings.TrimSpace(got), " | ") {
				ok = ok && (i >= len(parts) || strings.Contains(part, parts[i]))
			}
			if !ok {
				t.Errorf("got\n%swant %s", got, test.want)
			}
			if tally := r.Tallies[0]; tally.Compared != 1 || tally.NotDone != "" {
				t.Errorf("%+v", tally)
			}
			if text, _ := json.Marshal(r); strings.Contains(string(text), "secret") || strings.ContainsAny(string(text), "\x1b") || strings.Contains(string(text), `\u001b`) {
				t.Errorf("what nobody shall see is in the report: %s", text)
			}
		})
	}
}

func TestRequestsAreThoseOfClients(t *testing.T) {
	t.Parallel()
	sides := sidesOf(t, settings{},
		app{id: "/a", labels: map[string]string{vhost: "a.test"}}, app{id: "/b", port: 10001, labels: map[string]string{vhost: "b.test", "HAPROXY_0_PATH": "/api%2Fx"}},
		app{id: "/c", port: 10002, labels: map[string]string{vhost: "*.c.test"}})
	var mu sync.Mutex
	seen := make(map[string]int)
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.Method+" "+r.Host+" "+r.RequestURI+" "+r.Header.Get("X-Team")]++
		mu.Unlock()
		fmt.Fprint(w, r.Host+r.URL.Path)
	}
	old, new := httptest.NewServer(http.HandlerFunc(handler)), httptest.NewServer(page("x"))
	defer old.Close()
	defer new.Close()
	asking := quick()
	asking.Method, asking.Paths = http.MethodHead, []string{"/health?x=1"}
	ask(t, sides, asking, compare.Addresses{Old: old.URL, New: new.URL, Header: []string{"X-Team: shop"}})
	for _, want := range []string{"a.test /", "a.test /health?x=1", "b.test /", "b.test /api%2Fx", "b.test /health?x=1", "relay-compare.c.test /", "relay-compare.c.test /health?x=1"} {
		if seen["HEAD "+want+" shop"] < 2 {
			t.Errorf("%s was not asked for", want)
		}
		delete(seen, "HEAD "+want+" shop")
	}
	if len(seen) > 0 {
		t.Errorf("asked for as well: %v", seen)
	}
}

// TestRate holds how often sides are asked, and by how many at a time.
func TestRate(t *testing.T) {
	t.Parallel()
	var apps []app
	for i := range 10 {
		apps = append(apps, app{id: fmt.Sprintf("/a%d", i), port: 10000 + i, labels: map[string]string{vhost: fmt.Sprintf("a%d.test", i)}})
	}
	sides := sidesOf(t, settings{}, apps...)
	var now, most, all atomic.Int64
	handler := func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		all.Add(1)
		time.Sleep(time.Millisecond)
		fmt.Fprint(w, "x")
	}
	old := httptest.NewServer(http.HandlerFunc(handler))
	defer old.Close()
	asking := quick()
	asking.Rate, asking.Concurrency, asking.Limit = 50, 2, 5
	started := time.Now()
	r := ask(t, sides, asking, compare.Addresses{Old: old.URL})
	if took := time.Since(started); all.Load() != 10 || took < 170*time.Millisecond || most.Load() > 2 {
		t.Errorf("%d requests in %s, %d at a time", all.Load(), took, most.Load())
	}
	if r.Tallies[0].Compared != 5 {
		t.Errorf("%+v", r.Tallies[0])
	}
}

func TestASideThatIsAway(t *testing.T) {
	t.Parallel()
	sides := oneApp(t)
	old := httptest.NewServer(page("x"))
	defer old.Close()
	r := ask(t, sides, quick(), compare.Addresses{Old: old.URL, New: "http://" + refused(t)})
	if tally := r.Tallies[0]; !tally.Failed || !strings.Contains(tally.NotDone, "refused") || len(r.Findings) > 0 {
		t.Errorf("%+v %v", tally, r.Findings)
	}
}

// refused is an address at which nothing listens, nor will before the end of the test.
func refused(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

func TestItGivesUp(t *testing.T) {
	t.Parallel()
	var apps []app
	for i := range 60 {
		apps = append(apps, app{id: fmt.Sprintf("/a%d", i), port: 10000 + i, labels: map[string]string{vhost: fmt.Sprintf("a%d.test", i)}})
	}
	dead := httptest.NewServer(hijack(""))
	defer dead.Close()
	r := ask(t, sidesOf(t, settings{}, apps...), quick(), compare.Addresses{Old: dead.URL, New: dead.URL})
	if tally := r.Tallies[0]; !tally.Failed || !strings.Contains(tally.NotDone, "given up") || tally.Compared > 30 {
		t.Errorf("%+v", tally)
	}
}

func TestInterruptedItHasWhatIsKnown(t *testing.T) {
	t.Parallel()
	var apps []app
	for i := range 60 {
		apps = append(apps, app{id: fmt.Sprintf("/a%d", i), port: 10000 + i, labels: map[string]string{vhost: fmt.Sprintf("a%d.test", i)}})
	}
	sides := sidesOf(t, settings{}, apps...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 40 {
			cancel()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	asking := quick()
	if err := asking.Read(compare.Addresses{Old: server.URL, New: server.URL, OldAdmin: "none"}); err != nil {
		t.Fatal(err)
	}
	r := compare.NewReport()
	sides.Ask(ctx, r, asking)
	tally := r.Tallies[0]
	if tally.Compared == 0 || tally.Compared >= 60 || !strings.Contains(tally.NotDone, "interrupted") || tally.Failed {
		t.Errorf("%+v", tally)
	}
	if lines := without(brief(r), "cannot-tell body"); len(lines) > 0 {
		t.Errorf("what was interrupted is taken for an answer: %v", lines)
	}
}

// TestWithoutANewSide compares marathon-lb's answers with what Relay would do.
func TestWithoutANewSide(t *testing.T) {
	t.Parallel()
	sides := sidesOf(t, settings{fleet: withHTTPS},
		app{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true"}},
		app{id: "/b", port: 10001, labels: map[string]string{vhost: "b.test"}},
		app{id: "/c", port: 10002, labels: map[string]string{vhost: "c.test", "HAPROXY_0_PATH": "/api"}},
		app{id: "/off", port: 10003, stopped: true, labels: map[string]string{vhost: "off.test"}},
		app{id: "/auth", port: 10004, labels: map[string]string{vhost: "auth.test", "HAPROXY_0_AUTH": "R:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}},
		app{id: "/old", port: 10005, labels: map[string]string{vhost: "old.test"}},
	)
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Host + r.URL.Path {
		case "a.test/":
			w.Header().Set("Location", "https://a.test/")
			w.WriteHeader(301)
		case "b.test/", "c.test/api":
			fmt.Fprint(w, "x")
		case "auth.test/": // as if the label was new
			fmt.Fprint(w, "open")
		default:
			w.WriteHeader(503)
		}
	}))
	defer old.Close()
	r := ask(t, sides, quick(), compare.Addresses{Old: old.URL})
	want := []string{
		"different status http://auth.test/", "different not-in-model http://auth.test/", "cannot-tell status http://old.test/", "expected unknown-domain http://c.test/",
	}
	got := brief(r)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAddressesThatAreWrong(t *testing.T) {
	t.Parallel()
	good := "http://lb.test"
	for _, from := range []compare.Addresses{
		{Old: "lb.test:80"}, {Old: "ftp://lb.test"}, {Old: "http://joe:secret@lb.test"}, {Old: "http://lb.test/secret"}, {Old: "http://%zzsecret"}, {New: good}, {Old: good, NewHTTPS: "https://secret"},
		{Old: "https://lb.test", OldHTTPS: "https://lb.test"}, {Old: good, OldHTTPS: good}, {Old: good, OldAdmin: "secret"}, {Old: good, Header: []string{"secret"}},
		{Old: good, Header: []string{"Authorization: sec\x00ret"}}, {Old: good, Header: []string{"Host: secret"}},
	} {
		asking := quick()
		if err := asking.Read(from); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", from, err)
		}
	}
	for _, asking := range []compare.Asking{{Rate: 0, Concurrency: 1, Timeout: 1}, {Rate: math.NaN(), Concurrency: 1, Timeout: 1}, {Rate: math.Inf(1), Concurrency: 1, Timeout: 1}, {Rate: 1, Concurrency: 0, Timeout: 1}, {Rate: 1, Concurrency: 1, Timeout: 1, Limit: -1}, {Rate: 1, Concurrency: 1, Timeout: 1, Paths: []string{"x"}}} {
		if err := asking.Read(compare.Addresses{Old: good}); err == nil {
			t.Errorf("%+v is taken", asking)
		}
	}
}
