package web

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
	"relay/statuspage"
)

// fixed is a Source of one view.
type fixed statuspage.View

func (f fixed) View() statuspage.View  { return statuspage.View(f) }
func (fixed) Changed() <-chan struct{} { return nil }

func pageOf(t testing.TB, v statuspage.View) *Page {
	t.Helper()
	return New(Config{Source: fixed(v), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func serve(t testing.TB, v statuspage.View) (url string) {
	t.Helper()
	s := httptest.NewServer(pageOf(t, v))
	t.Cleanup(s.Close)
	return s.URL
}

// axe is the source of axe-core, which looks for what people with disabilities cannot use.
func axe(t *testing.T) string {
	t.Helper()
	f, err := os.Open("../../admin/page/testdata/axe/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const violations = `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.help + ": " +
	v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message).join(" | ")))`

// TestInABrowser looks at the page as people see it, with scripts off: on a phone and a desktop, in light and dark. Nothing
// sticks out, axe has nothing to say against it, and the browser refuses nothing of it. With SCREENSHOTS set to a folder
// it leaves pictures there.
func TestInABrowser(t *testing.T) {
	sites := map[string]string{
		"well": serve(t, wellView()), "trouble": serve(t, troubleView()), "degraded": serve(t, degradedView()), "new": serve(t, newView()), "hostile": serve(t, hostileView()),
	}
	ctx, source := pagetest.Start(t), axe(t)
	complaints := pagetest.Complaints(t, ctx)
	backgrounds := make(map[string]string)
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"phone", "light", 360, 780}, {"phone-dark", "dark", 360, 780}, {"small", "light", 320, 600}} {
		for name, url := range sites {
			for _, path := range []string{"/", "/incidents/20261121-devices.html"} {
				if name == "new" && path != "/" {
					continue
				}
				pagetest.Do(t, ctx, chromedp.EmulateViewport(look.width, look.height), pagetest.Prefer(look.scheme), pagetest.WithoutScripts(true), chromedp.Navigate(url+path))
				at := look.name + "-" + name + path
				if out := pagetest.Run(t, ctx, chromedp.Evaluate[[]string](pagetest.Outside)); len(out) > 0 {
					t.Errorf("%s: out of the window or of their card: %s", at, strings.Join(out, "\n"))
				}
				if !pagetest.Run(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth <= innerWidth`)) {
					t.Errorf("%s can be scrolled to the side", at)
				}
				screenshot(t, ctx, at)
				pagetest.Do(t, ctx, pagetest.WithoutScripts(false)) // for axe: the page has none
				pagetest.Run(t, ctx, chromedp.Evaluate[bool](source+";true"))
				for _, v := range pagetest.Run(t, ctx, chromedp.Evaluate[[]string](violations, chromedp.EvalAwaitPromise)) {
					t.Errorf("%s: %s", at, v)
				}
				for _, c := range complaints() {
					t.Errorf("%s: %s", at, c)
				}
				backgrounds[look.scheme] = pagetest.Run(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
			}
		}
	}
	if backgrounds["light"] == backgrounds["dark"] || backgrounds["light"] == "rgba(0, 0, 0, 0)" {
		t.Errorf("the background is %s in light and %s in dark", backgrounds["light"], backgrounds["dark"])
	}
}

func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture := pagetest.Run(t, ctx, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, strings.NewReplacer("/", "_", ".", "_").Replace(name)+".png"), picture, 0o644); err != nil {
		t.Error(err)
	}
}
