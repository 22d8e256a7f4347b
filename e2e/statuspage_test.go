package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

// TestStatusPage follows an app in a real browser from its label to a real Envoy, while it changes:
// the page is loaded once. What another app has in its labels does nothing to it.
func TestStatusPage(t *testing.T) {
	w := newWorld(t)
	hostile := `"'><script>alert(1)</script><img src=x onerror=alert(2)>` + "\u202e" + strings.Repeat("x", 300)
	w.marathon.deploy(app("/shop/web", "shop.test", 1), app("/hostile", hostile, 1, "HAPROXY_0_"+hostile, hostile, "HAPROXY_0_MODE", hostile))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop/web")

	ctx := pagetest.Start(t)
	complaints := pagetest.Complaints(t, ctx)
	open := func(path string) {
		t.Helper()
		pagetest.Do(t, ctx, chromedp.Navigate(w.admin.url+path))
		pagetest.WaitFor(t, ctx, `document.querySelector("#live.on")`)
		pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same = true`))
	}
	says := func(text string) {
		t.Helper()
		pagetest.WaitFor(t, ctx, `window.same && document.body.innerText.includes(`+"`"+text+"`"+`)`)
	}
	open("/problems")
	says("/hostile")
	says(`\\u202e`)
	open("/apps/hostile")
	says("Its labels for Relay")
	says("<script>alert(1)</script>")

	open("/apps/shop/web")
	says("All is well: 1 instance in rotation")
	says("4 of 4 resources")
	w.marathon.deploy(app("/shop/web", "shop.test", 2))
	says("All is well: 2 instances in rotation")
	w.marathon.deploy(app("/shop/web", "shop.test", 0))
	says("/shop/web is scaled to 0: requests get 503")

	open("/domains/shop.test")
	says("/shop/web is scaled to 0: requests get 503")
	w.marathon.deploy(app("/shop/web", "shop.test", 1))
	says("1 task in rotation")
	open("/failures")
	w.clients.do("http://nobody.test/path?token=hush")
	says("no-such-domain")
	says("nobody.test/path")
	if pagetest.Run(t, ctx, chromedp.Evaluate[bool](`document.body.innerText.includes("hush")`)) {
		t.Error("the query of a request is shown")
	}
	open("/changes")
	says("/shop/web")
	open("/")
	says("no-such-domain")
	w.eventually("requests move on the page", func() error {
		w.clients.do("http://shop.test/")
		if n := pagetest.Run(t, ctx, chromedp.Evaluate[string](`window.same && document.getElementById("n-requests").textContent`)); n == "–" || n == "0/s" {
			return fmt.Errorf("%s requests", n)
		}
		return nil
	})
	open("/domains/shpo.test")
	says("shop.test")
	open("/envoys")
	says("up to date")
	open("/")
	says("1 up to date")
	if pagetest.Run(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("#problems tbody tr").length`)) == 0 {
		t.Error("no problem is shown")
	}
	for _, c := range complaints() {
		if !strings.Contains(c, "404 (Not Found) "+w.admin.url+"/domains/shpo.test") {
			t.Error(c)
		}
	}
}
