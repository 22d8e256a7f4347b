package web

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

// TestPictures makes the pictures of docs/images with PICTURES set to that folder. Without, it shows that each can be made.
func TestPictures(t *testing.T) {
	well, trouble := serve(t, wellView()), serve(t, troubleView())
	ctx := pagetest.Start(t)
	for _, p := range []struct {
		name, url, scheme string
		width, height     int64
	}{{"well", well, "light", 1000, 900}, {"phone", trouble, "dark", 390, 844}} {
		pagetest.Do(t, ctx, chromedp.EmulateViewport(p.width, p.height), pagetest.Prefer(p.scheme), chromedp.Navigate(p.url+"/"))
		picture := pagetest.Run(t, ctx, chromedp.CaptureScreenshot())
		if len(picture) == 0 {
			t.Errorf("%s: no picture", p.name)
		}
		if dir := os.Getenv("PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "public-"+p.name+".png"), picture, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}
