package explain

import (
	"strings"
	"testing"

	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// Whoever asks about a domain finds the apps that name it, whatever keeps it from them.
func TestExplainWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	named := func(id, domain, reason string) *sources.App {
		app := collatortest.App(id, strings.TrimPrefix(id, "/")+".test")
		app.Unrouted = []sources.Unrouted{{Domain: domain, Reason: reason}}
		return app
	}
	paths := func(id, domain string, order int, paths ...sources.Path) *sources.App {
		return collatortest.Changed(collatortest.App(id, domain), func(p *sources.Port) { p.HTTP = &sources.HTTP{Paths: paths, Order: order} })
	}
	syncApps(t, c,
		named("/refused", "shop..test", "HAPROXY_0_VHOST: it is refused"),
		named("/noport", "late.test", "HAPROXY_1_VHOST: it names port 1"),
		named("/second", "site.test", "HAPROXY_0_ENABLED takes the port out"),
		collatortest.App("/site", "site.test"),
		collatortest.Changed(collatortest.App("/nogroup", "lone.test"), func(p *sources.Port) { p.Groups = nil }),
		collatortest.Changed(collatortest.App("/tcp", "tcp.test"), func(p *sources.Port) { p.TCP = &sources.TCP{Port: 5000} }),
		paths("/first", "paths.test", 5, sources.Path{Prefix: "/api"}),
		paths("/never", "paths.test", 1, sources.Path{Prefix: "/api/v2"}),
		paths("/none", "none.test", 0),
	)
	for subject, want := range map[string]string{
		"shop..test": "not for /refused: HAPROXY_0_VHOST: it is refused", "Late.test": "not for /noport: HAPROXY_1_VHOST: it names port 1",
		"https://late.test/x": "not for /noport", "late.test:8443": "not for /noport", "https://site.test/cart?x=1": "serves       /* for port 0 of /site",
		"site.test": "not for /second: HAPROXY_0_ENABLED takes the port out", "lone.test": "not for /nogroup: port 0: it is in no group",
		"tcp.test": "not for /tcp: port 0: it is in tcp mode", "paths.test": "port 0 does not get the path /api/v2: port 0 of /first has /api",
		"/noport": "not for /noport: late.test: HAPROXY_1_VHOST", "shop..tst": "near it: shop..test",
	} {
		e := Explain(c, subject)
		var text strings.Builder
		e.WriteText(&text)
		if !strings.Contains(text.String(), want) || e.Known == strings.HasPrefix(want, "near it") {
			t.Errorf("%s: known %v, no %q in:\n%s", subject, e.Known, want, text.String())
		}
	}
}
