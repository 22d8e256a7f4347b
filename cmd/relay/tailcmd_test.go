package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"relay/admin/api"
	"relay/internal/terminal"
)

// tailOf answers a tail with lines, and then waits or ends.
func tailOf(wait bool, lines ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, line := range lines {
			_ = json.NewEncoder(w).Encode(line)
		}
		_ = http.NewResponseController(w).Flush()
		if wait {
			<-r.Context().Done()
		}
	}
}

func notice(state api.TailState, text string, skipped uint64) api.TailNotice {
	return api.TailNotice{Notice: api.Notice{State: state, Text: text, Skipped: skipped}}
}

var shopRequest = api.Request{
	Time: fakeNow, Fleet: "external", Envoy: "e-1", App: "/shop/web", Domain: "shop.test", Client: "10.0.0.7", Method: "GET", Path: "/orders/17?…",
	Status: 200, Duration: 0.012, Instance: "10.0.0.9:31000",
}

// Requests are lines for people or for scripts. What the command says of itself goes to stderr.
// An interrupt is a good end.
func TestTailCommand(t *testing.T) {
	failed := shopRequest
	failed.Status, failed.Code, failed.Instance = 503, "offline", ""
	for _, test := range []struct{ format, want string }{
		{"table", "12:00:00.000 10.0.0.7        200 GET     shop.test/orders/17?… 12ms 10.0.0.9:31000\n" +
			"12:00:00.000 10.0.0.7        503 GET     shop.test/orders/17?… offline 12ms\n"},
		{"json", `{"time":"2026-11-30T12:00:00Z","fleet":"external","envoy":"e-1","app":"/shop/web",`},
		{"yaml", "---\n"},
	} {
		f := newFakeRelay(t)
		f.answers["tail"] = tailOf(true, notice(api.TailOn, "2 Envoys report", 0), shopRequest, failed, notice(api.TailOn, "2 Envoys report", 3))
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		out, errs := &awaited{text: "\x00", seen: func() {}}, &awaited{text: "3 requests", seen: stop}
		if status := run(ctx, []string{"tail", "/shop/web", "--unmasked", "-o", test.format}, out, errs); status != 0 {
			t.Errorf("status %d", status)
		}
		if !strings.HasPrefix(out.String(), test.want) || test.format == "table" && out.String() != test.want {
			t.Errorf("%s: got\n%s", test.format, out.String())
		}
		if got, want := errs.String(), "relay: 2 Envoys report\nrelay: 3 requests are not shown"; !strings.HasPrefix(got, want) {
			t.Errorf("stderr has %q", got)
		}
		if len(f.asked) != 1 || f.asked[0] != "tail?subject=%2Fshop%2Fweb&unmasked=true" {
			t.Errorf("asked for %q", f.asked)
		}
	}
}

// A tail that ends by itself, and one that cannot be, are errors that say what to do.
func TestTailCommandFails(t *testing.T) {
	f := newFakeRelay(t)
	for _, test := range []struct {
		name   string
		answer any
		status int
		want   string
	}{
		{"Relay stops", tailOf(false, notice(api.TailEnded, "Relay stops", 0)), 1, "ended it: Relay stops. Run the command again"},
		{"it ends without a word", tailOf(false), 1, "Run the command again"},
		{"nothing is known", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"error":"nothing is known of \"/shop/wep\"; near it: /shop/web"}`)
		}), 1, "near it: /shop/web"},
		{"no JSON", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = fmt.Fprintln(w, "hello")
		}), 1, "is no JSON"},
	} {
		f.answers["tail"] = test.answer
		status, out, errs := command(t, "tail", "/shop/wep")
		if status != test.status || !strings.Contains(errs, test.want) || out != "" {
			t.Errorf("%s: status %d, %q, %q", test.name, status, out, errs)
		}
	}
	f.Close()
	if status, _, errs := command(t, "tail", "/shop/web"); status != statusUnreachable || !strings.Contains(errs, "is relay serve running") {
		t.Errorf("without a Relay: status %d, %s", status, errs)
	}
}

// What strangers put into a request cannot write to the terminal, whatever Relay sends.
func TestTailCommandIsHarmless(t *testing.T) {
	f := newFakeRelay(t)
	const escape = "\x1b[2J\u009b31m\u202e\r\n\a"
	hostile := shopRequest
	hostile.Path, hostile.Method, hostile.Client, hostile.Domain, hostile.Code, hostile.Instance = escape, escape, escape, escape, escape, escape
	hostile.UserAgent, hostile.Envoy = escape, escape
	f.answers["tail"] = tailOf(false, notice(api.TailOn, escape, 0), hostile, notice(api.TailEnded, escape, 0))
	for _, format := range []string{"table", "json", "yaml"} {
		_, out, errs := command(t, "tail", "/shop/web", "-o", format)
		for _, text := range []string{out, errs} {
			if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) || !terminal.Harmless(strings.ReplaceAll(text, "\n", "")) {
				t.Errorf("%s: %q", format, text)
			}
		}
		if format == "table" && strings.Count(out, "\n") != 1 {
			t.Errorf("a request takes several lines: %q", out)
		}
	}
}
