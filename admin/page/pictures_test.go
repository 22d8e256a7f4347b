package page

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

// TestPictures makes the pictures of docs/images with PICTURES set to that folder. Without, it
// shows that each of them can be made.
func TestPictures(t *testing.T) {
	well, trouble, sleepy := serve(t, wellData(), &events{}), serve(t, troubleData(), &events{}), serve(t, sleepyData(), &events{})
	ctx := pagetest.Start(t)
	for _, p := range []struct {
		name, url, scheme string
		width, height     int64
		search            string
	}{
		{"well", well + "/", "light", 1280, 860, ""},
		{"trouble", trouble + "/", "dark", 1280, 1000, ""},
		{"app", trouble + "/apps/team-0/web", "light", 1280, 900, ""},
		{"domain", trouble + "/domains/web.team-0.example.com", "light", 1280, 860, ""},
		{"search", trouble + "/apps?sort=requests", "light", 1280, 700, "cart"},
		{"sleep", sleepy + "/apps/team-0/web", "light", 1280, 900, ""},
		{"phone", trouble + "/", "dark", 390, 844, ""},
	} {
		pagetest.Do(t, ctx, chromedp.EmulateViewport(p.width, p.height), pagetest.Prefer(p.scheme), chromedp.Navigate(p.url))
		pagetest.WaitFor(t, ctx, isLive)
		if p.search != "" {
			pagetest.Do(t, ctx, chromedp.SendKeys(chromedp.CSS("#q"), p.search))
			pagetest.WaitFor(t, ctx, `!document.getElementById("found").hidden`)
		}
		picture := pagetest.Run(t, ctx, chromedp.CaptureScreenshot())
		if len(picture) == 0 {
			t.Errorf("%s: no picture", p.name)
		}
		if dir := os.Getenv("PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "page-"+p.name+".png"), picture, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}
