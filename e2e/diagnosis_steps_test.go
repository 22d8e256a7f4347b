package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
)

// Someone who has never seen Relay finds out why a domain does not work, by the command line
// alone and by the page alone. With SCREENSHOTS set to a directory, it has what is seen.
func TestDiagnosis(t *testing.T) { // beside no others: the browser has its time, too
	page := &reader{ctx: pagetest.Start(t)}
	for _, d := range diagnoses {
		t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) {
			w := newWorld(t)
			w.certs.issue("seed.test")
			d.fail(w)
			w.eventually("the command line tells why", func() error { return d.byCommands(w) })
			w.eventually("the page tells why", func() error { return d.byPage(w, page) })
		})
	}
}

// ask has a visitor ask for the domain, if that is a part of it.
func (d diagnosis) ask(w *world) {
	if d.request != "" {
		w.clients.do(d.request)
	}
}

// byCommands does what is at hand: to ask how all is, and then about the domain.
func (d diagnosis) byCommands(w *world) error {
	w.t.Helper()
	d.ask(w)
	_, status, errs := w.command("status")
	d.keep(w.t, "status.txt", []byte(status+errs))
	if missing := lacks(status, d.first); missing != "" {
		return fmt.Errorf("relay status does not say %q:\n%s%s", missing, status, errs)
	}
	_, domain, errs := w.command("domain", d.domain)
	d.keep(w.t, "domain.txt", []byte(domain+errs))
	if missing := lacks(firstFinding(domain), d.why); missing != "" {
		return fmt.Errorf("relay domain %s does not begin with %q:\n%s%s", d.domain, missing, domain, errs)
	}
	return nil
}

// firstFinding returns what is below the title, up to the next finding or what else follows.
func firstFinding(shown string) string {
	lines := strings.Split(shown, "\n")
	end := 2
	for end < len(lines) && strings.HasPrefix(lines[end], "            ") {
		end++
	}
	return strings.Join(lines[min(1, len(lines)):min(end, len(lines))], "\n")
}

// reader reads pages, of one world at a time.
type reader struct {
	mu  sync.Mutex
	ctx context.Context
}

// inView is the text of a page that can be read without scrolling.
const inView = `(() => {
	const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT), range = document.createRange(), seen = [];
	while (texts.nextNode()) {
		range.selectNodeContents(texts.currentNode);
		const box = range.getBoundingClientRect();
		if (box.width && box.bottom > 0 && box.bottom <= innerHeight) seen.push(texts.currentNode.data);
	}
	return seen.join("").replace(/\s+/g, " ");
})()`

// byPage looks at the first screen, and searches for the domain there.
func (d diagnosis) byPage(w *world, page *reader) error {
	w.t.Helper()
	page.mu.Lock()
	defer page.mu.Unlock()
	d.ask(w)
	pagetest.Do(w.t, page.ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(w.admin.url+"/"))
	pagetest.WaitFor(w.t, page.ctx, `document.querySelector("#live.on")`)
	first := pagetest.Run(w.t, page.ctx, chromedp.Evaluate[string](inView))
	d.keep(w.t, "first.png", pagetest.Run(w.t, page.ctx, chromedp.CaptureScreenshot()))
	if missing := lacks(first, d.first); missing != "" {
		return fmt.Errorf("the first screen does not say %q:\n%s", missing, first)
	}
	pagetest.Do(w.t, page.ctx, chromedp.SendKeys(chromedp.CSS("#q"), d.domain))
	link := fmt.Sprintf(`#found a[href="/domains/%s"]`, d.domain)
	pagetest.WaitFor(w.t, page.ctx, fmt.Sprintf("document.querySelector(%q)", link))
	pagetest.Do(w.t, page.ctx, chromedp.Click(chromedp.CSS(link)))
	pagetest.WaitFor(w.t, page.ctx, fmt.Sprintf(`location.pathname === "/domains/%s" && document.querySelector("#live.on")`, d.domain))
	why := pagetest.Run(w.t, page.ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("#verdict p")].map(e => e.innerText).join("\n")`))
	d.keep(w.t, "domain.png", pagetest.Run(w.t, page.ctx, chromedp.CaptureScreenshot()))
	if missing := lacks(why, d.why); missing != "" {
		return fmt.Errorf("the page of %s does not begin with %q:\n%s", d.domain, missing, why)
	}
	return nil
}

// keep writes what was seen last.
func (d diagnosis) keep(t *testing.T, what string, data []byte) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "why-"+strings.ReplaceAll(d.name, " ", "-")+"-"+what), data, 0o644); err != nil {
		t.Error(err)
	}
}

// lacks returns the first of the texts that is not in what people are shown.
func lacks(shown string, texts []string) string {
	shown = strings.ToLower(strings.Join(strings.Fields(shown), " "))
	for _, text := range texts {
		if !strings.Contains(shown, strings.ToLower(text)) {
			return text
		}
	}
	return ""
}
