package admin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// findBrowser returns the browser's path. Its absence is a failure, so that a
// run without it is not taken for a run that passed.
func findBrowser(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no browser in PATH (looked for %s): install Debian's package chromium", strings.Join(names, ", "))
	return ""
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(findBrowser(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
	)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("close the browser: %v", err)
		}
		cancel()
	})
	return ctx
}

// TestPageInBrowser loads the page as people see it. With SCREENSHOTS set to a
// folder it leaves pictures there.
func TestPageInBrowser(t *testing.T) {
	busy, many := serve(t, newConfig(busyViews())), serve(t, newConfig(manyViews()))
	empty := serve(t, newConfig(fakeViews{notReady: []string{"marathon: not read yet"}}))
	ctx := startBrowser(t)
	const served, notRead = "2 domains have no task, 1 has no certificate, 3 apps are in no fleet", "apps have not been read yet"
	tests := []struct {
		name, url string
		width     int64
		scheme    string
		// rows are those visible: of problems, domains without a certificate,
		// certificates, and of these the ones that no domain uses. Problems have a row for each
		// group.
		rows  [4]int
		first string
	}{
		{"narrow-light", busy, 360, "light", [4]int{5, 2, 4, 1}, served},
		{"narrow-dark", busy, 360, "dark", [4]int{5, 2, 4, 1}, served},
		{"wide-light", busy, 1280, "light", [4]int{5, 2, 4, 1}, served},
		{"wide-dark", busy, 1280, "dark", [4]int{5, 2, 4, 1}, served},
		{"middle-light", busy, 720, "light", [4]int{5, 2, 4, 1}, served},
		{"many-light", many, 1280, "light", [4]int{0, 25, 60, 10}, notRead},
		{"many-narrow-light", many, 360, "light", [4]int{0, 25, 60, 10}, notRead},
		{"empty-light", empty, 360, "light", [4]int{}, notRead},
	}
	backgrounds := map[string]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := chromedp.Do(ctx,
				chromedp.EmulateViewport(tt.width, 900),
				preferScheme(tt.scheme),
				chromedp.Navigate(tt.url+"/?refresh=off"),
				chromedp.WaitVisible(chromedp.CSS("main")),
			)
			if err != nil {
				t.Fatal(err)
			}
			var rows [4]int
			for i, rest := range []string{`"problems", ""`, `"uncovered", ""`, `"certificates", ""`, `"certificates", "no domain"`} {
				rows[i] = run(t, ctx, chromedp.Evaluate[int](visibleRows+"("+rest+")"))
			}
			first := run(t, ctx, chromedp.Evaluate[string](`document.querySelector("main").firstElementChild.innerText`))
			if first != tt.first {
				t.Errorf("the first line is %q, want %q", first, tt.first)
			}
			if tt.url == busy {
				top := run(t, ctx, chromedp.Evaluate[string](`document.querySelector("#problems tbody tr").innerText`))
				for _, part := range []string{"failing", "/shop/busy", "7 problems", "busy.1 fails a health check", "and 2 more", "look at the app's tasks"} {
					if !strings.Contains(top, part) {
						t.Errorf("the first group has no %q: %s", part, top)
					}
				}
			}
			pageWidth := run(t, ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
			outside := run(t, ctx, chromedp.Evaluate[[]string](outsideOfParent))
			background := run(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
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
				picture := run(t, ctx, chromedp.FullScreenshot(100))
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

// TestPageRefreshes waits for the page to load itself again.
func TestPageRefreshes(t *testing.T) {
	url := serve(t, newConfig(busyViews()))
	ctx := startBrowser(t)
	err := chromedp.Do(ctx,
		chromedp.Navigate(url),
		chromedp.WaitVisible(chromedp.CSS("body")),
	)
	if err != nil {
		t.Fatal(err)
	}
	run(t, ctx, chromedp.Evaluate[string](`document.body.id = "old"`))
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("body:not(#old) #problems"))); err != nil {
		t.Fatal(err)
	}
}

func run[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// preferScheme makes the browser ask for "light" or "dark" pages.
func preferScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// visibleRows counts the rows of a table that have a text.
const visibleRows = `((table, text) => [...document.querySelectorAll("#" + table + " tbody tr")]
	.filter(r => r.getClientRects().length && getComputedStyle(r).visibility === "visible" && r.innerText.includes(text)).length)`

// outsideOfParent lists what sticks out of its card, of the window, or is wider
// inside than outside.
const outsideOfParent = `[...document.querySelectorAll("body *")].filter(e => {
	if (e.closest("thead") && innerWidth <= 704) return false;
	const box = e.getBoundingClientRect(), card = e.closest("section");
	const limit = card ? card.getBoundingClientRect().right : innerWidth;
	return box.width && (box.right > limit + 0.5 || box.left < -0.5 ||
		(getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth + 1));
}).map(e => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 40))`
