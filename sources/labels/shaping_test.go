package labels

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

func TestShaping(t *testing.T) {
	t.Parallel()
	type settings map[string]string
	shop := []string{"https://shop.test"}
	for _, test := range []struct {
		name     string
		settings settings
		want     *sources.Shaping
		problem  string // a part of "NAME: reason"
	}{
		{"nothing", settings{"REDIRECT": " \n", "PATH_REWRITE": " ", "HOST_REWRITE": "", "COMPRESS": "false", "PRIORITY": " ", "FAULT": " , ", "CORS_ORIGINS": "", "STICKY_HEADER": ""}, nil, ""},
		{"host", settings{"HOST_REWRITE": "Shop.Internal:8080"}, &sources.Shaping{Host: "shop.internal:8080"}, ""},
		{"no host", settings{"HOST_REWRITE": "a b"}, nil, "write a host"},
		{"host with a path", settings{"HOST_REWRITE": "shop.test/x"}, nil, "write a host"},
		{"all encodings", settings{"COMPRESS": "true"}, &sources.Shaping{Compress: &sources.Compress{}}, ""},
		{"some encodings", settings{"COMPRESS": "GZIP, br br"}, &sources.Shaping{Compress: &sources.Compress{Encodings: []sources.Encoding{sources.Gzip, sources.Brotli}}}, ""},
		{"unknown encoding", settings{"COMPRESS": "deflate"}, nil, "deflate"},
		{"sticky by header", settings{"STICKY_HEADER": "X-Session"}, &sources.Shaping{StickyHeader: "x-session"}, ""},
		{"sticky by a header that is not for apps", settings{"STICKY_HEADER": "Host"}, nil, "not for apps"},
		{"urgent paths", settings{"PRIORITY": "/a b", "MAX_REQUESTS": "1"}, &sources.Shaping{Urgent: []string{"/a"}}, "slash"},
		{"urgent paths without limits", settings{"PRIORITY": "/a"}, &sources.Shaping{Urgent: []string{"/a"}}, "without MAX_CONNECTIONS"},
		{"slow", settings{"FAULT": "delay 2s 10%"}, &sources.Shaping{Fault: &sources.Fault{Delay: 2 * time.Second, DelayPercent: 10}}, ""},
		{"slow and broken", settings{"FAULT": "abort 503 0.5%, Delay 1m 100%"}, &sources.Shaping{Fault: &sources.Fault{Delay: time.Minute, DelayPercent: 100, Abort: 503, AbortPercent: .5}}, ""},
		{"too slow", settings{"FAULT": "delay 61s 10%"}, nil, "up to 1m"},
		{"twice slow", settings{"FAULT": "delay 1s 10%, delay 2s 10%"}, nil, "FAULT"},
		{"broken with success", settings{"FAULT": "abort 200 1%"}, nil, "400 to 599"},
		{"more than all", settings{"FAULT": "abort 503 101%"}, nil, "FAULT"},
		{"no percent", settings{"FAULT": "abort 503 10"}, nil, "FAULT"},
		{"origins", settings{"CORS_ORIGINS": "HTTPS://Shop.Test:443, http://*.a.test:8080"}, &sources.Shaping{CORS: &sources.CORS{Origins: []string{"https://shop.test", "http://*.a.test:8080"}}}, ""},
		{"origin with a path", settings{"CORS_ORIGINS": "https://shop.test/"}, nil, "without a path"},
		{"no origin", settings{"CORS_ORIGINS": "null"}, nil, "CORS_ORIGINS"},
		{"all origins with cookies", settings{"CORS_ORIGINS": "*", "CORS_CREDENTIALS": "true"}, &sources.Shaping{CORS: &sources.CORS{Origins: []string{"*"}}}, "Name the origins"},
		{"all origins and others", settings{"CORS_ORIGINS": "* https://shop.test"}, &sources.Shaping{CORS: &sources.CORS{Origins: shop}}, "* is ignored"},
		{"all of CORS", settings{"CORS_ORIGINS": "https://shop.test", "CORS_METHODS": "put", "CORS_HEADERS": "*", "CORS_EXPOSE_HEADERS": "X-A", "CORS_CREDENTIALS": "true", "CORS_MAX_AGE": "90m"},
			&sources.Shaping{CORS: &sources.CORS{Origins: shop, Methods: []string{"PUT"}, Headers: []string{"*"}, ExposeHeaders: []string{"x-a"}, Credentials: true, MaxAge: ptr(90 * time.Minute)}}, ""},
		{"methods without origins", settings{"CORS_METHODS": "PUT"}, nil, "without CORS_ORIGINS"},
		{"rewrite", settings{"PATH_REWRITE": `/v[0-9]+/(.*) -> /\1`}, &sources.Shaping{PathRewrite: &sources.PathRewrite{Pattern: "^/v[0-9]+/(.*)", Substitution: `/\1`}}, ""},
		{"rewrite to no path", settings{"PATH_REWRITE": `/(.*) -> \1`}, nil, "is no path"},
		{"rewrite of the middle", settings{"PATH_REWRITE": `v1 -> /v2`}, nil, "begin with a slash"},
		{"rewrite of either", settings{"PATH_REWRITE": `/a|b -> /v2`}, nil, "(?:a|b)"},
		{"rewrite without a group", settings{"PATH_REWRITE": `/a -> /\1`}, nil, "0 groups"},
		{"rewrite with a query", settings{"PATH_REWRITE": `/a -> /b?c`}, nil, "is no path"},
		{"rewrite that is no expression", settings{"PATH_REWRITE": `/( -> /b`}, nil, "no expression"},
		{"rewrite that takes long", settings{"PATH_REWRITE": `/(a{500}){2} -> /b`}, nil, "PATH_REWRITE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := NewSettings()
			for name, value := range test.settings {
				if !s.Set(name, value) {
					t.Fatalf("there is no %s", name)
				}
			}
			h, _, problems := s.Finish()
			var got *sources.Shaping
			if h != nil {
				got = h.Shaping
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var all strings.Builder
			for _, p := range problems {
				all.WriteString(p.Subject + ": " + p.Reason + "\n")
			}
			if (test.problem == "") != (len(problems) == 0) || !strings.Contains(all.String(), test.problem) {
				t.Errorf("problems are %q, want %q", all.String(), test.problem)
			}
		})
	}
}

func TestOutlierDetection(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]*sources.Upstream{
		"5": {EjectAfter: 5}, "3 30s": {EjectAfter: 3, EjectFor: 30 * time.Second}, "1": nil, "5 1ms": nil, "5 30s x": nil, "true": nil, "": nil,
	} {
		s := NewSettings()
		s.Set("OUTLIER_DETECTION", value)
		if _, got, problems := s.Finish(); !got.Equal(want) || (len(problems) > 0) != (want == nil && value != "") {
			t.Errorf("%q: %+v, %v", value, got, problems)
		}
	}
}

func TestParseRedirect(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]sources.Redirect{
		"www.Shop.test -> https://shop.test":          {Host: `www\.shop\.test`, Path: "(/.*)", Target: `https://shop.test\1`, Code: 301},
		"*.old.test -> https://shop.test 308":         {Host: `[^:]+\.old\.test`, Path: "(/.*)", Target: `https://shop.test\1`, Code: 308},
		"/old -> /new 302":                            {Path: "/old", Target: "/new", Code: 302},
		"/old/* -> /new/*":                            {Path: "/old/(.*)", Target: `/new/\1`, Code: 301},
		"/old* -> /new":                               {Path: "/old(.*)", Target: `/new`, Code: 301},
		"a.test/x -> http://b.test:81":                {Host: `a\.test`, Path: "/x", Target: "http://b.test:81/", Code: 301},
		"a.test -> https://b.test/from-a/*":           {Host: `a\.test`, Path: "/(.*)", Target: `https://b.test/from-a/\1`, Code: 301},
		"/login -> https://id.test/?app=shop 303":     {Path: "/login", Target: "https://id.test/?app=shop", DropQuery: true, Code: 303},
		"/a.b -> /100%25":                             {Path: `/a\.b`, Target: "/100%25", Code: 301},
		"a.test/* -> https://b.test/*":                {Host: `a\.test`, Path: "/(.*)", Target: `https://b.test/\1`, Code: 301},
		"www.shop.test -> https://shop.test/goodbye ": {Host: `www\.shop\.test`, Path: "(/.*)", Target: "https://shop.test/goodbye", Code: 301},
	} {
		got, wrong := parseRedirect(line)
		if diff := cmp.Diff(want, got); wrong != "" || diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", line, wrong, diff)
		}
	}
	for line, want := range map[string]string{
		"/old":                                 "write HOST/PATH",
		"-> /new":                              "write HOST/PATH",
		"/a b -> /new":                         "write HOST/PATH",
		"/old -> /new 200":                     "the code is",
		"/old -> new":                          "neither a path nor a URL",
		"/old -> //evil.test/":                 "neither a path nor a URL",
		"/old -> javascript:x":                 "neither a path nor a URL",
		"/old -> https://user@shop.test/":      "neither a path nor a URL",
		`/old -> /\1`:                          "neither a path nor a URL",
		"/old -> /new#x":                       "neither a path nor a URL",
		"/old -> /new/*":                       "has none",
		"/old* -> https://shop.test":           "needs a path",
		"/* -> /new/*":                         "for ever",
		"/old* -> /older":                      "for ever",
		"shop.test -> https://shop.test":       "for ever",
		"*.shop.test -> http://www.shop.test":  "for ever",
		"a!b.test -> https://shop.test":        "no domain",
		"/é -> /new":                           "character",
		"/" + strings.Repeat("x", 600) + "->/": "500 bytes",
	} {
		if got, wrong := parseRedirect(line); !strings.Contains(wrong, want) || wrong == "" {
			t.Errorf("%s: %q and %+v, want %q", line, wrong, got, want)
		}
	}
}

// Of a redirect, no part of a path becomes a part of the host.
func TestRedirectsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ host, path, target, wrong string }{
		{"", "/old(.*)", `https://shop.test\1`, "for one of the host"},
		{"", "/old/(.*)", `https://shop.test\1/`, "for one of the host"},
		{"", "(/|x)(.*)", `https://shop.test\1\2`, "for one of the host"},
		{"", "(/.*)", `https://shop.test\1.evil.test/`, "for one of the host"},
		{"", "(/.*)", `https://shop.test\1`, ""},
		{"", "/old(/.*)?", `https://shop.test\1`, ""},
		{`www\.(.*)`, "/(.*)", `https://\1/\2`, ""},
		{`www\.(.*)`, "/(.*)", `https://\2/\1`, "for one of the host"},
		{"", "/", `https://a@b.test/`, "has a user"},
		{"", "/", `ftp://b.test/`, "neither https"},
		{"", `/(?P<x>a)`, "/", "names"},
		{"", `/\pN`, "/", "Unicode"},
	} {
		if wrong := CheckRedirect(sources.Redirect{Host: test.host, Path: test.path, Target: test.target}); (wrong == "") != (test.wrong == "") || !strings.Contains(wrong, test.wrong) {
			t.Errorf("%+v: %q", test, wrong)
		}
	}
}

// FuzzRedirects holds that what is taken of a line is good for Envoy, and leads nowhere else than the line says.
func FuzzRedirects(f *testing.F) {
	for _, seed := range []string{"www.shop.test -> https://shop.test 308", "/old/* -> /new/*", "*.a.test/x* -> https://b.test/*", `/a\E( -> /\1`, "a.test/->/%5c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, wrong := parseRedirect(line)
		if wrong != "" {
			return
		}
		if wrong := CheckRedirect(r); wrong != "" || redirectCodes["301"] != 301 || r.Code < 301 || r.Code > 308 {
			t.Errorf("%q: %s %+v", line, wrong, r)
		}
		if strings.HasPrefix(r.Target, "//") || strings.ContainsAny(r.Target, "\r\n\t @#") && strings.Contains(strings.SplitN(r.Target, "/", 4)[0], "@") {
			t.Errorf("%q leads to %q", line, r.Target)
		}
		for _, pattern := range []string{r.Host, r.Path} {
			if _, err := regexp.Compile(pattern); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}

// FuzzPathRewrite holds that a path that is rewritten begins with a slash, and has no query.
func FuzzPathRewrite(f *testing.F) {
	for _, seed := range []string{`/v1/(.*) -> /\1`, `/a|b -> /x`, `/(?i)X* -> /`, `(?m)^/x -> /y`, `/x\z -> /`, `/.^/|x -> /b`} {
		f.Add(seed, "/v1/x")
	}
	f.Fuzz(func(t *testing.T, value, path string) {
		s := NewSettings()
		s.Set("PATH_REWRITE", value)
		h, _, _ := s.Finish()
		if h == nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#\n") {
			return
		}
		r := h.Shaping.PathRewrite
		re := regexp.MustCompile(r.Pattern)
		var references = regexp.MustCompile(`\\([1-9])`)
		got := re.ReplaceAllString(path, references.ReplaceAllString(strings.ReplaceAll(r.Substitution, "$", "$$"), "$${$1}"))
		if !strings.HasPrefix(got, "/") || strings.ContainsAny(got, "?#") {
			t.Errorf("%q makes %q of %q", value, got, path)
		}
	})
}
