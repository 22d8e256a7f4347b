package web

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// ask sends a request to the page, and returns its answer.
func ask(t testing.TB, p *Page, method, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	p := pageOf(t, troubleView())
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8", "/feed.atom": "application/atom+xml; charset=utf-8", "/feed.rss": "application/rss+xml; charset=utf-8",
		"/status.json": "application/json; charset=utf-8", "/incidents/20261130-edge.html": "text/html; charset=utf-8",
	} {
		plain := ask(t, p, "GET", path)
		text := body(t, plain)
		h := plain.Header
		if plain.StatusCode != 200 || h.Get("Content-Type") != want || h.Get("Content-Length") != fmt.Sprint(len(text)) || len(text) == 0 || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %d, %v", path, plain.StatusCode, h)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
		if shared := h.Get("Access-Control-Allow-Origin") == "*"; shared == strings.HasPrefix(want, "text/html") {
			t.Errorf("%s may be read by pages of other sites: %v", path, shared)
		}
		packed := ask(t, p, "GET", path, "Accept-Encoding", "br, gzip;q=0.5")
		r, err := gzip.NewReader(packed.Body)
		if err != nil || packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("ETag") == h.Get("ETag") {
			t.Fatalf("%s: %v, %v", path, packed.Header, err)
		}
		if unpacked, err := io.ReadAll(r); err != nil || string(unpacked) != text {
			t.Errorf("%s: what is compressed is another file (%v)", path, err)
		}
		for _, one := range []*http.Response{plain, packed} {
			tag := one.Header.Get("ETag")
			again := ask(t, p, "GET", path, "Accept-Encoding", one.Header.Get("Content-Encoding"), "If-None-Match", `"other", W/`+tag)
			if again.StatusCode != 304 || body(t, again) != "" || again.Header.Get("ETag") != tag || again.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s, which the client has: %d, %v", path, again.StatusCode, again.Header)
			}
		}
		if other := ask(t, p, "GET", path, "If-None-Match", packed.Header.Get("ETag")); other.StatusCode != 200 {
			t.Errorf("%s: who has it compressed only is told that it has it plain", path)
		}
		head := ask(t, p, "HEAD", path)
		if head.StatusCode != 200 || body(t, head) != "" || head.Header.Get("Content-Length") != fmt.Sprint(len(text)) || head.Header.Get("ETag") != h.Get("ETag") {
			t.Errorf("HEAD %s: %d, %v", path, head.StatusCode, head.Header)
		}
	}
	if ask(t, p, "GET", "/", "Accept-Encoding", "gzip;q=0, identity").Header.Get("Content-Encoding") != "" {
		t.Error("who refuses gzip gets it")
	}
}

func TestOthersAreRefused(t *testing.T) {
	t.Parallel()
	p := pageOf(t, hostileView())
	for _, path := range []string{"/none", "/metrics", "/api/v1/status", "/healthz", "/debug/pprof/", "/incidents/", "/incidents/../index.html", "/..%2f..%2fetc/passwd", "//index.html", "/incidents/none.html", "/index.html/", "/?q=" + strings.Repeat("x", 100)} {
		r := ask(t, p, "GET", path)
		want := 404
		if strings.HasPrefix(path, "/?") {
			want = 200 // what is asked is not looked at
		}
		if text := body(t, r); r.StatusCode != want || r.StatusCode == 404 && (strings.Contains(text, "none") || r.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s: %d %q", path, r.StatusCode, text)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "ODD"} {
		r := ask(t, p, method, "/")
		if r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" || strings.Contains(body(t, r), "<") {
			t.Errorf("%s: %d", method, r.StatusCode)
		}
	}
}

// listen serves a page on a port of its own until the test ends.
func listen(t testing.TB, p *Page) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Listen(ctx, l, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func limitedPage(t testing.TB, change func(*Limits)) *Page {
	t.Helper()
	limits := DefaultLimits()
	change(&limits)
	return New(Config{Source: fixed(troubleView()), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Limits: limits})
}

// send opens a connection and writes to it.
func send(t testing.TB, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// isAnswered reports whether a new client gets the page.
func isAnswered(t testing.TB, address string) bool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	r, err := client.Get("http://" + address + "/")
	if err != nil {
		t.Log(err)
		return false
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	return err == nil && r.StatusCode == 200 && strings.Contains(string(text), "</html>")
}

// A client that sends its head byte by byte is cut off, and so is one that says nothing, or reads nothing.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	p := limitedPage(t, func(l *Limits) { l.Head, l.Write = 300*time.Millisecond, 300*time.Millisecond })
	address := listen(t, p)
	for name, begin := range map[string]string{"silent": "", "half a head": "GET / HTTP/1.1\r\nHost: x\r\nX-A: ", "a body that does not come": "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := send(t, address, begin)
			begun := time.Now()
			_ = c.SetReadDeadline(begun.Add(10 * time.Second))
			stop := time.AfterFunc(100*time.Millisecond, func() { _, _ = io.WriteString(c, "x") }) // one byte more changes nothing
			defer stop.Stop()
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("it is not cut off: %v", err)
			}
		})
	}
	// One that is held up by a busy machine is cut off too, and asks again.
	for deadline := time.Now().Add(20 * time.Second); !isAnswered(t, address); {
		if time.Now().After(deadline) {
			t.Fatal("another client is not answered")
		}
	}
}

// A body that does not come holds no answer up.
func TestBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	address := listen(t, limitedPage(t, func(l *Limits) { l.Head = time.Minute }))
	// The second one is for no path, and within the limits all the same.
	for _, head := range []string{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c := send(t, address, head)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second)) // half of what a head may take
		answer := make([]byte, len("HTTP/1.1 405"))
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 405" {
			t.Errorf("%.20q: %q, %v", head, answer, err)
		}
	}
}

// A client that asks again and again, and reads nothing, is cut off when no more fits on the way to it.
func TestWhoReadsNothingIsCutOff(t *testing.T) {
	t.Parallel()
	p := limitedPage(t, func(l *Limits) { l.Head, l.Write, l.Requests = time.Minute, 300*time.Millisecond, 1_000_000 })
	c := send(t, listen(t, p), "")
	_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	requests := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
	for {
		if _, err := c.Write(requests); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				t.Error("it is not cut off")
			}
			return
		}
	}
}

// A head that is too large is refused before it is read.
func TestLargeHead(t *testing.T) {
	t.Parallel()
	address := listen(t, pageOf(t, wellView()))
	c := send(t, address, "GET / HTTP/1.1\r\nHost: x\r\n")
	go func() {
		for range 100 {
			if _, err := io.WriteString(c, "X-A: "+strings.Repeat("a", 8000)+"\r\n"); err != nil {
				return
			}
		}
	}()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err == nil && string(answer) != "HTTP/1.1 431" {
		t.Errorf("%s", answer)
	}
}

// Who opens connections and says nothing takes no place from others: the oldest are closed.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	p := limitedPage(t, func(l *Limits) { l.Connections, l.PerAddress, l.Accepts, l.Head = 50, 40, 100_000, time.Minute })
	address := listen(t, p)
	var all []net.Conn
	for range 400 {
		all = append(all, send(t, address, ""))
	}
	if !isAnswered(t, address) {
		t.Error("a client that asks is not answered")
	}
	open, limit := 0, time.Now().Add(30*time.Second)
	for i, c := range all {
		if i >= len(all)-40 { // these may be open
			limit = time.Now()
		}
		_ = c.SetReadDeadline(limit)
		if _, err := c.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "timeout") {
			open++
		}
	}
	if open > 40 {
		t.Errorf("%d connections are open, of 40", open)
	}
}

// Beyond what is answered at once, requests are told to come again, and their connections closed.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	const limit = 4 // a second; a busy machine makes more, too
	p := limitedPage(t, func(l *Limits) { l.Requests = limit })
	address := listen(t, p)
	got := make(map[int]int)
	for range 60 {
		r, err := http.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if got[r.StatusCode]++; r.StatusCode == 503 && (r.Header.Get("Retry-After") == "" || !r.Close) {
			t.Errorf("%v", r.Header)
		}
	}
	if got[200] < limit/4+1 || got[503] == 0 || len(got) != 2 {
		t.Errorf("answers: %v", got)
	}
}

// Clients of one address that ask for much and read nothing leave room for others.
func TestManyWhoReadNothing(t *testing.T) {
	t.Parallel()
	const atOnce = 20
	p := limitedPage(t, func(l *Limits) { l.AtOnce, l.Head, l.Write, l.Requests = atOnce, time.Minute, time.Minute, 1_000_000 })
	address := listen(t, p)
	stuck := make(chan struct{}, 2*atOnce)
	for range 2 * atOnce {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			defer func() { stuck <- struct{}{} }()
			requests := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
			for {
				_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // what is not taken in it is not taken at all
				if _, err := c.Write(requests); err != nil {
					return
				}
			}
		}()
	}
	for range 2 * atOnce {
		<-stuck
	}
	if !isAnswered(t, address) {
		t.Error("a client of another address is not answered")
	}
}

func unpack(t testing.TB, packed string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
