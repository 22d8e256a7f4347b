package page

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

func TestZZShot(t *testing.T) {
	url := os.Getenv("SHOT_URL")
	if url == "" {
		t.Skip()
	}
	ctx := pagetest.Start(t)
	c := pagetest.Complaints(t, ctx)
	for _, path := range strings.Fields(os.Getenv("SHOT_PATHS")) {
		pagetest.Do(t, ctx, chromedp.EmulateViewport(1280, 900), pagetest.Prefer("light"), chromedp.Navigate(url+path))
		pagetest.WaitFor(t, ctx, `document.querySelector("#live.on")`)
		screenshot(t, ctx, "demo"+path)
		t.Log(path, c())
	}
}
