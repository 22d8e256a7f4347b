package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/terminal"
)

// attack is what an app may have in its id, labels and paths to take over a terminal, to look
// like something else, or to begin a line of its own.
const attack = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\u200b\nOK  all is well\r"

// spiked puts the attack into every text of an answer.
func spiked(v any) any {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return v // with more in it, the whole answer would be none
		}
		return v + attack
	case []any:
		for i := range v {
			v[i] = spiked(v[i])
		}
	case map[string]any:
		for key := range v {
			keep := map[string]bool{"retry": true, "@type": true}
			if _, text := v[key].(string); !text || !keep[key] {
				v[key] = spiked(v[key])
			}
		}
	}
	return v
}

// Nothing that apps name things reaches the terminal as more than letters.
func TestTextsOfStrangersAreHarmless(t *testing.T) {
	for name, args := range goldenCommands {
		f := newFakeRelay(t)
		for path, answer := range f.answers {
			if path == "events" || path == "explain" || path == "tail" {
				continue
			}
			var v any
			if err := json.Unmarshal(encoded(answer), &v); err != nil {
				t.Fatal(err)
			}
			f.answers[path] = spiked(v)
		}
		f.answers["explain"] = plainly(200, "application/json", string(encoded(spiked(decodedAny(t, encoded(fakeExplanation()))))))
		f.answers["envoys/external/e-2"], f.answers["certificates/vault/shop.test"] = spiked(decodedAny(t, encoded(fakeAnswers()["envoys/external/e-2"]))), spiked(decodedAny(t, encoded(fakeAnswers()["certificates/vault/shop.test"])))
		var lines strings.Builder
		for line := range strings.Lines(fakeTail()) {
			lines.Write(append(encoded(spiked(decodedAny(t, []byte(line)))), '\n'))
		}
		f.answers["tail"] = lines.String()
		_, out, errs := command(t, args...)
		if strings.Contains(errs, "cannot be read, is it older") {
			t.Errorf("relay %q shows nothing of the answer: %s", args, errs)
		}
		for line := range strings.SplitSeq(out+errs, "\n") {
			if strings.HasPrefix(line, "OK") {
				t.Errorf("relay %q: an app writes a line of its own: %q", args, line)
			}
			for _, r := range line {
				if !strconv.IsPrint(r) {
					t.Errorf("%s: relay %q writes %q in %q", name, args, r, line)
					break
				}
			}
		}
		if (name == "apps" || name == "authorities") && !strings.Contains(out, `\x1b[2J`) {
			t.Errorf("%s: nothing was spiked:\n%s%s", name, out, errs)
		}
	}
}

func decodedAny(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A command that is shown to be copied is one command, whatever the names in it.
func TestCommandsToRunNextAreSafe(t *testing.T) {
	for name, want := range map[string]string{"shop.test": "shop.test", "*.shop.test": "'*.shop.test'", "$(reboot)": "'$(reboot)'", "a'; reboot #": `'a'\''; reboot #'`, "a\nb": "'a\nb'", "": "''"} {
		if got := quotedWord(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	s := fakeStatus()
	s.Worst[0].Problems[0].Domain = "x; reboot"
	if got := nextCommands(s, nil)[0].command; got != "relay domain 'x; reboot'" {
		t.Error(got)
	}
}

// On a terminal, tables keep to its width and have colours; the words say the same.
func TestTablesOnATerminal(t *testing.T) {
	for _, width := range []int{60, 80, 200} {
		for _, color := range []bool{false, true} {
			var b strings.Builder
			p := printer{"table", &terminal.Screen{Writer: &b, Width: width, Color: color}}
			s := fakeStatus()
			p.status(s, nil, "http://relay.test:9090")
			p.app(fakeAppStory())
			for line := range strings.Lines(b.String()) {
				// Commands, which people copy, and numbers of a fleet are never cut.
				command := strings.HasPrefix(line, "  relay ") || strings.HasPrefix(line, "relay diff ")
				if n := terminal.Width(strings.TrimSuffix(line, "\n")); n > max(width, 80) && !command {
					t.Errorf("%d columns of %d: %q", n, width, line)
				}
			}
			if strings.Contains(b.String(), "\x1b[31m") != color {
				t.Errorf("colours: %v\n%s", color, b.String())
			}
		}
	}
}

// pagedApps has many apps on pages, as Relay has.
func pagedApps(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		answer := api.Apps{Apps: []api.App{}, Page: api.Page{Total: n}}
		for i := from; i < min(n, from+limit); i++ {
			answer.Apps = append(answer.Apps, api.App{ID: fmt.Sprintf("/app-%05d", i), Ports: []api.Port{{Domains: []string{fmt.Sprintf("d%d.test", i)}}}})
		}
		if from+limit < n {
			answer.Next = strconv.Itoa(from + limit)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// At most a hundred are shown, and all if that is asked for, page by page.
func TestLongLists(t *testing.T) {
	f := newFakeRelay(t)
	f.answers["apps"] = pagedApps(2500)
	_, out, _ := command(t, "apps")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 102 || lines[101] != "100 of 2500: --limit 0 shows all, --filter TEXT those with a text in them" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	for limit, want := range map[string]int{"0": 2500, "2400": 2400, "1": 1} {
		_, out, errs := command(t, "apps", "--limit", limit)
		if n := strings.Count(out, "/app-"); n != want || errs != "" {
			t.Errorf("--limit %s: %d apps%s", limit, n, errs)
		}
		_, out, _ = command(t, "apps", "--limit", limit, "-o", "json")
		var all api.Apps
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.Apps) != want || all.Apps[want-1].ID != fmt.Sprintf("/app-%05d", want-1) || all.Total != 2500 {
			t.Errorf("--limit %s -o json: %v, %d apps of %d", limit, err, len(all.Apps), all.Total)
		}
		_, out, _ = command(t, "apps", "--limit", limit, "-o", "yaml")
		if n := strings.Count(out, "- id: /app-"); n != want || !strings.Contains(out, "\ntotal: 2500\n") {
			t.Errorf("--limit %s -o yaml: %d apps", limit, n)
		}
	}
	f.answers["apps"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apps":[{"id":"/a"}],"next":"same","total":9}`))
	})
	if status, _, errs := command(t, "apps", "--limit", "0"); status != statusWrong || !strings.Contains(errs, "has no end") {
		t.Errorf("a list without an end: status %d, %s", status, errs)
	}
}

// discard counts what is written.
type discard struct{ n int }

// Write implements io.Writer.
func (d *discard) Write(p []byte) (int, error) {
	d.n += len(p)
	return len(p), nil
}

// A list of all apps of a large Relay takes the memory of a page.
func TestMemoryOfLongLists(t *testing.T) {
	f := newFakeRelay(t)
	pages, peak, page := 0, uint64(0), pagedApps(50_000)
	f.answers["apps"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages++; pages%10 == 0 { // the command waits meanwhile
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		page(w, r)
	})
	for _, format := range []string{"table", "json"} {
		out := new(discard)
		if status := run(t.Context(), []string{"apps", "--limit", "0", "-o", format}, out, out); status != 0 || out.n < 1<<20 {
			t.Errorf("%s: status %d, %d bytes", format, status, out.n)
		}
	}
	if pages != 100 || peak == 0 || peak > 32<<20 {
		t.Errorf("%d MB are kept at %d pages", peak>>20, pages)
	}
}
