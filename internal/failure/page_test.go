package failure_test

import (
	"slices"
	"strings"
	"testing"

	"relay/internal/failure"
)

func TestParsePage(t *testing.T) {
	t.Parallel()
	for html, want := range map[string]struct{ texts, placeholders []string }{
		"<p>100%</p>":                           {[]string{"<p>100%</p>"}, nil},
		"{{code}}":                              {[]string{"", ""}, []string{"code"}},
		"a {{ domain }}b{{request_id}}{{text}}": {[]string{"a ", "b", "", ""}, []string{"domain", "request_id", "text"}},
		"\ufeff<p>{{status}}":                   {[]string{"<p>", ""}, []string{"status"}},
		"a{b:{c{{ }} {{1}} {{a b}} %REQ(x)%":    {[]string{"a{b:{c{{ }} {{1}} {{a b}} %REQ(x)%"}, nil},
	} {
		page, err := failure.ParsePage([]byte(html))
		if err != nil || !slices.Equal(page.Texts, want.texts) || !slices.Equal(page.Placeholders, want.placeholders) {
			t.Errorf("%q: %q, %v", html, page, err)
		}
	}
	for html, want := range map[string]string{
		"":                                     "empty",
		" \n":                                  "empty",
		"\xff":                                 "UTF-8",
		"a\x00":                                "zero",
		"{{Domain}}":                           "there is no placeholder {{Domain}}: there are {{domain}}, ",
		"{{request-id}}":                       "placeholder",
		strings.Repeat("x", failure.MaxPage+1): "larger than 64 kB",
		strings.Repeat("{{code}}", 21):         "21 placeholders",
	} {
		if page, err := failure.ParsePage([]byte(html)); err == nil || !strings.Contains(err.Error(), want) || page.Texts != nil {
			t.Errorf("%.20q: %v, %v", html, page, err)
		}
	}
}

// Which page a code has: its own, or else the default one.
func TestPages(t *testing.T) {
	t.Parallel()
	pages := failure.Pages{"busy": {Texts: []string{"b"}}}
	if name, page, ok := pages.Of("busy"); !ok || name != "busy" || page.Texts[0] != "b" {
		t.Errorf("busy: %q %v", name, page)
	}
	if name, _, ok := pages.Of("offline"); ok {
		t.Errorf("offline has the page %q", name)
	}
	pages[failure.DefaultPage] = failure.Page{}
	if name, _, ok := pages.Of("offline"); !ok || name != failure.DefaultPage {
		t.Errorf("offline has the page %q", name)
	}
	for _, code := range failure.Codes() {
		if err := failure.CheckPageName(code.Name); err != nil {
			t.Error(err)
		}
	}
	if err := failure.CheckPageName("bussy"); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("bussy: %v", err)
	}
}

// The texts and placeholders of a page are the page.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte("a {{code}} b"))
	f.Add([]byte("{{{domain}}}"))
	f.Fuzz(func(t *testing.T, html []byte) {
		page, err := failure.ParsePage(html)
		if err != nil {
			return
		}
		if len(page.Texts) != len(page.Placeholders)+1 {
			t.Fatalf("%q", page)
		}
		again := page.Texts[0]
		for i, name := range page.Placeholders {
			again += "{{" + name + "}}" + page.Texts[i+1]
		}
		if twice, err := failure.ParsePage([]byte(again)); err == nil && !slices.Equal(twice.Placeholders, page.Placeholders) {
			t.Errorf("%q is %q, then %q", html, page, twice)
		}
	})
}
