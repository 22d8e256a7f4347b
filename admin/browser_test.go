package admin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"relay/admin/api"
	"relay/admin/page/pagetest"
	"relay/internal/problem"
)

// TestPageInBrowser loads the page as people see it. With SCREENSHOTS set to a
// folder it leaves pictures there.
func TestPageInBrowser(t *testing.T) {
	busy, many := serve(t, newConfig(busyViews())), serve(t, newConfig(manyViews()))
	empty := serve(t, newConfig(fakeViews{notReady: []string{"marathon: not read yet"}}))
	ctx := pagetest.Start(t)
	const served, notRead = "2 domains have no task, 1 has no certificate, 3 apps are in no fleet", "apps have not been read yet"
	tests := []struct {
		name, url, path string
		width           int64
		scheme          string
		// rows are those visible: of problems, domains without a certificate,
		// certificates, and of these the ones that no domain uses. Problems have a row for each
		// group.
		rows  [4]int
		first string
	}{
		{"narrow-light", busy, "/", 360, "light", [4]int{5, 2, 4, 1}, served},
		{"narrow-dark", busy, "/", 360, "dark", [4]int{5, 2, 4, 1}, served},
		{"wide-light", busy, "/", 1280, "light", [4]int{5, 2, 4, 1}, served},
		{"wide-dark", busy, "/", 1280, "dark", [4]int{5, 2, 4, 1}, served},
		{"middle-light", busy, "/", 720, "light", [4]int{5, 2, 4, 1}, served},
		{"many-light", many, "/", 1280, "light", [4]int{0, 8, 8, 0}, notRead},
		{"many-narrow-light", many, "/", 360, "light", [4]int{0, 8, 8, 0}, notRead},
		{"certificates-light", many, "/certificates", 1280, "light", [4]int{0, 0, 50, 0}, ""},
		{"certificates-narrow-light", many, "/certificates", 360, "light", [4]int{0, 0, 50, 0}, ""},
		{"uncovered-narrow-light", many, "/uncovered", 360, "light", [4]int{0, 200, 0, 0}, ""},
		{"empty-light", empty, "/", 360, "light", [4]int{}, notRead},
	}
	backgrounds := map[string]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := chromedp.Do(ctx,
				chromedp.EmulateViewport(tt.width, 900),
				pagetest.Prefer(tt.scheme),
				chromedp.Navigate(tt.url+tt.path),
				chromedp.WaitVisible(chromedp.CSS("main")),
			)
			if err != nil {
				t.Fatal(err)
			}
			var rows [4]int
			for i, rest := range []string{`"problems", ""`, `"uncovered", ""`, `"certificates", ""`, `"certificates", "no domain"`} {
				rows[i] = pagetest.Run(t, ctx, chromedp.Evaluate[int](visibleRows+"("+rest+")"))
			}
			if tt.path == "/" {
				if first := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.querySelector("#served").innerText`)); first != tt.first {
					t.Errorf("the first line is %q, want %q", first, tt.first)
				}
			}
			if tt.url == busy {
				top := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.querySelector("#problems tbody tr").innerText`))
				for _, part := range []string{"failing", "/shop/busy", "7 problems", "busy.1 fails a health check", "and 4 more", "look at the app's tasks"} {
					if !strings.Contains(top, part) {
						t.Errorf("the first group has no %q: %s", part, top)
					}
				}
			}
			pageWidth := pagetest.Run(t, ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
			outside := pagetest.Run(t, ctx, chromedp.Evaluate[[]string](pagetest.Outside))
			background := pagetest.Run(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
			if rows != tt.rows {
				t.Errorf("%d rows are visible, want %d", rows, tt.rows)
			}
			if pageWidth > int(tt.width) {
				t.Errorf("the page is %d px wide in a window of %d px", pageWidth, tt.width)
			}
			if len(outside) > 0 {
				t.Errorf("out of the window or of their card: %s", strings.Join(outside, "; "))
			}
			backgrounds[tt.scheme] = background
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				picture := pagetest.Run(t, ctx, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(dir, tt.name+".png"), picture, 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("the background is %s in light and dark alike", backgrounds["light"])
	}
}

// visibleRows counts the rows of a table that have a text.
const visibleRows = `((table, text) => [...document.querySelectorAll("#" + table + " tbody tr")]
	.filter(r => r.getClientRects().length && getComputedStyle(r).visibility === "visible" && r.innerText.includes(text)).length)`

// TestPageIsLive opens the page, publishes a change and reports a problem: both appear without
// reload. When Relay stops, the page says that it is not live.
func TestPageIsLive(t *testing.T) {
	history := &fakeHistory{}
	views := &liveViews{fakeViews: busyViews()}
	cfg := newConfig(views)
	cfg.History = history
	l := listen(t)
	s := New(cfg, l)
	serving, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(serving) }()
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate("http://"+l.Addr().String()))
	pagetest.WaitFor(t, ctx, `document.querySelector("#live.on")`)
	pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same = true`))

	history.add(api.Change{ID: 7, Time: time.Now(), Fleet: "external", Revision: 43, Cause: "Marathon: status_update_event of task web.1", What: []string{"endpoints of /shop/web port 0: +1 -1"}})
	views.add(problem.Problem{Kind: problem.Tasks, App: "/new/trouble", Reason: "no task is in rotation"})
	pagetest.WaitFor(t, ctx, `document.body.innerText.includes("endpoints of /shop/web port 0: +1 -1")`)
	pagetest.WaitFor(t, ctx, `document.querySelector("#problems").innerText.includes("/new/trouble")`)
	if !pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same`)) {
		t.Error("the page was loaded again")
	}
	stop()
	if err := <-done; err != context.Canceled {
		t.Errorf("Serve: %v", err)
	}
	pagetest.WaitFor(t, ctx, `document.querySelector("#live.off")`)
}

// liveViews are fakeViews with problems that come.
type liveViews struct {
	fakeViews
	mu   sync.Mutex
	more []problem.Problem
}

func (l *liveViews) add(p problem.Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more = append(l.more, p)
}

func (l *liveViews) Problems() []problem.Problem {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fakeViews
	f.problems = slices.Concat(f.problems, l.more)
	return f.Problems()
}
