package explain

import (
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// Rates and times read as people say them.
func TestWordsOfRatesAndTimes(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		strings.Join(acceptWords(&sources.TCP{AcceptRate: 1, AddressRate: 1}), "; "): "each instance takes 1 new connection a second, and the others wait for their turn; a client may open 1 new connection a second, and others are closed",
		acceptWords(&sources.TCP{AcceptRate: 2.5})[0]:                                "each instance takes 2.5 new connections a second, and the others wait for their turn",
		acceptWords(&sources.TCP{Hold: 30 * time.Second})[0]:                         "new connections wait up to 30s while there is no instance",
		serviceTLSWords(sources.ServiceTLS{ALPN: []string{"postgresql"}}, false)[1]:  "clients that ask for a protocol (ALPN) get one of postgresql",
		idleWords("connections", 0):                                                  "connections on which nothing moves do not end for that",
		idleWords("requests", time.Minute):                                           "requests on which nothing moves end after 1m0s",
		strings.Join(limitWords(sources.HTTP{Timeout: new(time.Duration)}), "; "):    "answers may take as long as they want",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

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
