package page

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"relay/admin/api"
	"relay/admin/page/pagetest"
)

const isLive = `document.querySelector("#live.on")`

// TestNoScriptOfAnAppRuns opens every page with a text that is a script wherever an app, an
// Envoy or a client can put one: none runs, and none becomes a part of the page.
func TestNoScriptOfAnAppRuns(t *testing.T) {
	url := serve(t, hostileData(), &events{})
	ctx := pagetest.Start(t)
	complaints := pagetest.Complaints(t, ctx)
	for _, path := range hostilePages() {
		pagetest.Do(t, ctx, chromedp.Navigate(url+path))
		pagetest.WaitFor(t, ctx, isLive)
		if strings.HasPrefix(path, "/search") { // the results are put into the page by the script, too
			pagetest.Run(t, ctx, chromedp.Evaluate[bool](`{const q = document.getElementById("q"); q.value += "x"; q.dispatchEvent(new Event("input")); } true`))
			pagetest.WaitFor(t, ctx, `!document.querySelector("#found").hidden`)
		}
		pagetest.WaitFor(t, ctx, `refresh() && true`)
		foreign := pagetest.Run(t, ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("script:not([src^='/static/']), img, iframe, object, style, [style], a[href^='javascript'], svg > :not(path):not(title):not(desc):not(circle), base, meta[http-equiv]")].map(e => e.outerHTML.slice(0, 200))
			.concat([...document.querySelectorAll("*")].flatMap(e => [...e.attributes]).filter(a => a.name.startsWith("on")).map(a => a.name + "=" + a.value))`))
		for _, e := range foreign {
			t.Errorf("%s: the page has %s", path, e)
		}
		if pagetest.Run(t, ctx, chromedp.Evaluate[bool](`/[\u202a-\u202e\u2066-\u2069\u200b]/.test(document.body.innerText)`)) {
			t.Errorf("%s: a character that turns the text around, or is not seen, is shown as it is", path)
		}
		for _, c := range complaints() {
			if !strings.Contains(c, "404 (Not Found) "+url) {
				t.Errorf("%s: %s", path, c)
			}
		}
	}
	if text := get(t, url+"/apps"); !strings.Contains(text, `\u202e`) || !strings.Contains(text, `\u200b`) {
		t.Error("a character that cannot be seen is not shown as its number")
	}
}

// TestNoScriptRunsByThePolicy shows that a script which got into a page would not run either, and
// that the test above would see it.
func TestNoScriptRunsByThePolicy(t *testing.T) {
	url := serve(t, wellData(), &events{})
	ctx := pagetest.Start(t)
	complaints := pagetest.Complaints(t, ctx)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/"))
	for _, script := range []string{`const s = document.createElement("script"); s.textContent = "window.ran = true"; document.body.append(s)`, `document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'><p style='color: red'>")`} {
		pagetest.Run(t, ctx, chromedp.Evaluate[bool](`{`+script+`}; true`))
	}
	pagetest.WaitFor(t, ctx, `document.querySelector("img").complete`)
	if pagetest.Run(t, ctx, chromedp.Evaluate[bool](`!!window.ran`)) {
		t.Error("a script of the page itself has run")
	}
	if all := strings.Join(complaints(), "\n"); !strings.Contains(all, "Content Security Policy") {
		t.Errorf("nothing was refused: %s", all)
	}
}

// TestMovesWithoutReload has a number, a change and a failure appear in an open page, which is not loaded
// again and keeps what the reader does.
func TestMovesWithoutReload(t *testing.T) {
	data, stream := wellData(), &events{}
	url := serve(t, data, stream)
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/"))
	pagetest.WaitFor(t, ctx, isLive)
	pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same = true; document.getElementById("q").focus(); document.getElementById("q").value = "half"; true`))
	before := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.querySelector("#chart-traffic path.line").getAttribute("d")`))
	data.change(func(f *fakeData) {
		f.status.Load = load(31337, 12)
		f.status.Series.Requests = append(f.status.Series.Requests[1:], 31337)
		f.changes = append([]api.Change{{ID: 99999, Time: time.Now(), Fleet: "external", Revision: 99999, Cause: "Marathon: a change of the test", What: []string{"domain new.example.com added"}}}, f.changes...)
		f.failures = append([]api.Failure{{Time: time.Now(), Fleet: "external", Envoy: "edge-1", Code: "offline", Cause: "a failure of the test", Status: 503, Domain: "new.example.com", Count: 1}}, f.failures...)
	})
	stream.send("status")
	pagetest.WaitFor(t, ctx, `document.querySelector("#n-requests").textContent.replace(/\s/g, "") === "31337/s"`)
	pagetest.WaitFor(t, ctx, `document.body.innerText.includes("domain new.example.com added")`)
	pagetest.WaitFor(t, ctx, `document.body.innerText.includes("a failure of the test")`)
	pagetest.WaitFor(t, ctx, `document.querySelector("#chart-traffic path.line").getAttribute("d") !== `+mustJSON(t, before))
	if !pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same && document.activeElement.id === "q" && document.activeElement.value === "half"`)) {
		t.Error("the page was loaded again, or has lost the focus or what was typed")
	}
}

// TestSaysThatItIsNotLive ends the event stream: the page says so, tries again, and is live again.
func TestSaysThatItIsNotLive(t *testing.T) {
	stream := &events{}
	data := wellData()
	url := serve(t, data, stream)
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/problems"))
	pagetest.WaitFor(t, ctx, isLive)
	stream.away(true)
	pagetest.WaitFor(t, ctx, `/^Not live since \d\d:\d\d:\d\d; trying again/.test(document.getElementById("live").textContent)`)
	data.change(func(f *fakeData) { f.status.Summary = "It has changed meanwhile." })
	stream.away(false)
	pagetest.WaitFor(t, ctx, isLive)
	pagetest.WaitFor(t, ctx, `document.body.innerText.includes("It has changed meanwhile.")`)
}

// TestReadsWithoutScripts reads every page with scripts switched off: it says of when it is, and
// has a link to read it again; searching and filtering work.
func TestReadsWithoutScripts(t *testing.T) {
	url := serve(t, troubleData(), &events{})
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, pagetest.WithoutScripts(true))
	for _, path := range everyPage {
		pagetest.Do(t, ctx, chromedp.Navigate(url+path))
		text := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.body.innerText`))
		if !strings.Contains(text, "As of ") || !strings.Contains(text, "Refresh") || len(text) < 300 {
			t.Errorf("%s: the text is %q", path, text)
		}
		if back := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.querySelector("#live a").getAttribute("href")`)); back != path {
			t.Errorf("%s: the link to read it again leads to %s", path, back)
		}
	}
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/apps"), chromedp.SendKeys(chromedp.CSS("#filter"), "team-3/s\r"))
	pagetest.WaitFor(t, ctx, `location.search.includes("q=team-3%2Fs") && document.querySelectorAll("#list tbody tr").length === 1`)
	pagetest.Do(t, ctx, chromedp.SendKeys(chromedp.CSS("#q"), "cart\r"))
	pagetest.WaitFor(t, ctx, `location.pathname === "/search" && document.querySelectorAll(".hits li").length === 12`)
}

// TestSearchByKeyboard searches with keys alone, while typing.
func TestSearchByKeyboard(t *testing.T) {
	url := serve(t, troubleData(), &events{})
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/"), chromedp.KeyEvent("\t"))
	if first := pagetest.Run(t, ctx, chromedp.Evaluate[string](`document.activeElement.textContent`)); first != "Skip to the content" {
		t.Errorf("the first stop is %q", first)
	}
	pagetest.Do(t, ctx, chromedp.KeyEvent("/"), chromedp.KeyEvent("team-14"))
	pagetest.WaitFor(t, ctx, `document.activeElement.id === "q" && document.querySelectorAll("#found a[href^='/apps/team-14/']").length === 6`)
	pagetest.Do(t, ctx, chromedp.KeyEvent(kb.ArrowDown))
	pagetest.WaitFor(t, ctx, `document.activeElement.closest("#found") && document.activeElement.getAttribute("href") === "/apps/team-14/web"`)
	pagetest.Do(t, ctx, chromedp.KeyEvent(kb.Escape))
	pagetest.WaitFor(t, ctx, `document.getElementById("found").hidden && document.activeElement.id === "q"`)

	pagetest.Do(t, ctx, chromedp.Navigate(url+"/apps"))
	pagetest.WaitFor(t, ctx, isLive)
	pagetest.Do(t, ctx, chromedp.SendKeys(chromedp.CSS("#filter"), "jobs"))
	pagetest.WaitFor(t, ctx, `location.search === "?q=jobs" && document.querySelectorAll("#list tbody tr").length === 15 && document.activeElement.id === "filter"`)
}

// TestListsArePaged reads a list to its end by its links.
func TestListsArePaged(t *testing.T) {
	url := serve(t, wellData(), &events{})
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/apps?q=team&sort=requests"))
	rows := 0
	for _, want := range []string{"1–50 of 120", "51–100 of 120", "101–120 of 120"} {
		pagetest.WaitFor(t, ctx, `document.querySelector(".pager span").textContent === `+mustJSON(t, want))
		rows += pagetest.Run(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("#list tbody tr").length`))
		if next := pagetest.Run(t, ctx, chromedp.Evaluate[string](`(document.querySelector("a[rel=next]") || {getAttribute: () => ""}).getAttribute("href")`)); next != "" {
			pagetest.Do(t, ctx, chromedp.Navigate(url+next))
		}
	}
	if rows != 120 {
		t.Errorf("%d rows on all pages, want 120", rows)
	}
}

func get(t testing.TB, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, answer.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
