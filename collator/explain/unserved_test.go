package explain

import (
	"strings"
	"testing"

	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// Whoever misspells a group asks why the domain does not answer.
func TestExplainWhatNoFleetServes(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	elsewhere := func(p *sources.Port) { p.Groups = []string{"externl"} }
	syncApps(t, c, collatortest.App("/site", "shop.test"),
		collatortest.Changed(collatortest.App("/lost", "lost.test", "*.lost.test", "shop.test"), elsewhere),
		collatortest.Changed(collatortest.ServiceApp("/db", sources.TCP{Port: 5432}), elsewhere))
	for subject, want := range map[string]string{
		"lost.test": "/lost", "a.lost.test": "/lost", "tcp/5432": "/db", "shop.test": "/site /lost", "*.a.lost.test": "", "none.test": "", "tcp/1": "",
	} {
		e := Explain(c, subject)
		var apps []string
		for _, app := range e.Apps {
			apps = append(apps, app.ID)
		}
		if got := strings.Join(apps, " "); got != want || e.Known != (want != "") {
			t.Errorf("%s: known %v, by the apps %q, want %q", subject, e.Known, got, want)
		}
		var text strings.Builder
		e.WriteText(&text)
		if misses := want != "" && subject != "a.lost.test" && subject != "tcp/5432" && !strings.Contains(text.String(), "not for /lost: port 0: its group externl is no fleet here (fleets: external)"); misses {
			t.Errorf("%s: the app is not found by its label:\n%s", subject, text.String())
		}
		if subject == "shop.test" {
			continue
		}
		if unserved := want == "/lost" || want == "/db"; strings.Contains(text.String(), "no fleet of this Relay serves it; these apps have it") != unserved ||
			strings.Contains(text.String(), "in the groups externl: none is a fleet of this Relay") != unserved {
			t.Errorf("%s:\n%s", subject, text.String())
		}
	}
}
