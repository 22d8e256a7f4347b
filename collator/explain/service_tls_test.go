package explain

import (
	"strings"
	"testing"

	"relay/certs"
	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// A service whose authority no store has lets nobody in, and does not say that a certificate of it would do.
func TestExplainMissingAuthority(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{CertificateSources: []string{"dir"}})
	c.SyncCertificates("dir", nil, nil)
	app := collatortest.ServiceApp("/imp", sources.TCP{Port: 8883, ServiceTLS: &sources.ServiceTLS{ClientCA: "nope"}})
	const missing, needed = "nobody is let in: no certificate store has the authority nope", "must show a certificate that the authority nope signed"
	for _, test := range []struct {
		there          []*certs.Authority
		says, saysNone string
	}{
		{nil, missing, needed},
		{[]*certs.Authority{{Source: "dir", Name: "nope"}}, needed, missing},
	} {
		c.SyncAuthorities("dir", test.there, nil)
		syncApps(t, c, app)
		for _, subject := range []string{"tcp/8883", "/imp"} {
			e := Explain(c, subject)
			for where, words := range map[string][]string{"service": e.Services[0].Handling, "app": e.Apps[0].Ports[0].Connections} {
				if said := strings.Join(words, "; "); !strings.Contains(said, test.says) || strings.Contains(said, test.saysNone) {
					t.Errorf("%s, %s: %q, want %q", subject, where, said, test.says)
				}
			}
		}
	}
}
