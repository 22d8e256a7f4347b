package page

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

// axeSource is axe-core 4.14.1, minified: see testdata/axe/README.md.
//
//go:embed testdata/axe/axe.min.js.gz
var axeSource []byte

func axe(t *testing.T) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(axeSource))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// violations runs all rules of axe on the page.
const violations = `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.help + ": " +
	v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message).join(" | ")))`

type look struct {
	name, scheme  string
	width, height int64
}

var looks = []look{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"phone", "light", 390, 844}, {"phone-dark", "dark", 390, 844}, {"small", "light", 320, 640}}

// TestEveryPageIsAccessible opens every page in light and dark and on a phone: axe has nothing
// to say against it, nothing sticks out, and no script or style is refused. With SCREENSHOTS set
// to a folder it leaves pictures there.
func TestEveryPageIsAccessible(t *testing.T) {
	sites := map[string]string{"well": serve(t, wellData(), &events{}), "trouble": serve(t, troubleData(), &events{}), "hostile": serve(t, hostileData(), &events{}), "empty": serve(t, &fakeData{}, &events{}), "sleepy": serve(t, sleepyData(), &events{})}
	ctx, source := pagetest.Start(t), axe(t)
	complaints := pagetest.Complaints(t, ctx)
	backgrounds := make(map[string]string)
	for _, look := range looks {
		for name, url := range sites {
			pages := everyPage
			switch {
			case name == "trouble" && (look.name == "light" || look.name == "phone-dark"):
			case name == "trouble": // of the other looks, those pages that differ most
				pages = []string{"/", "/apps", "/apps/team-0/web", "/domains/web.team-0.example.com", "/envoys/external/edge-3.example.com", "/search?q=web"}
			case name == "hostile" && (look.name == "light" || look.name == "phone"):
				pages = hostilePages()
			case look.name != "light" && look.name != "dark":
				continue
			case name == "well":
				pages = []string{"/", "/apps/team-0/web"}
			case name == "sleepy":
				pages = []string{"/", "/apps"}
			case name == "empty":
				pages = []string{"/", "/apps", "/changes"}
			default:
				continue
			}
			for _, path := range pages {
				t.Run(look.name+"/"+name+path, func(t *testing.T) {
					pagetest.Do(t, ctx, chromedp.EmulateViewport(look.width, look.height), pagetest.Prefer(look.scheme), chromedp.Navigate(url+path))
					pagetest.WaitFor(t, ctx, `document.querySelector("#live.on")`)
					if out := pagetest.Run(t, ctx, chromedp.Evaluate[[]string](pagetest.Outside)); len(out) > 0 {
						t.Errorf("out of the window or of their card: %s", strings.Join(out, "\n"))
					}
					pagetest.Run(t, ctx, chromedp.Evaluate[bool](source+";true"))
					for _, v := range pagetest.Run(t, ctx, chromedp.Evaluate[[]string](violations, chromedp.EvalAwaitPromise)) {
						t.Error(v)
					}
					for _, c := range complaints() {
						if !strings.Contains(c, "404 (Not Found) "+url+path) { // of a page about what is not there
							t.Error(c)
						}
					}
					backgrounds[look.scheme] = pagetest.Run(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
					screenshot(t, ctx, look.name+"-"+name+path)
				})
			}
		}
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("the background is %s in light and dark alike", backgrounds["light"])
	}
}

func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	name = strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
	picture := pagetest.Run(t, ctx, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%.80s.png", name)), picture, 0o644); err != nil {
		t.Error(err)
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
