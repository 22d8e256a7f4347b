package collator

import "relay/collator/collatortest"

// What these tests have of collatortest, by short names.
var (
	testFleet, testTime, testCA         = collatortest.Fleet, collatortest.Time, collatortest.CA
	webApp, serviceApp, member          = collatortest.App, collatortest.ServiceApp, collatortest.Member
	changed, set, withHTTP              = collatortest.Changed, collatortest.Set, collatortest.WithHTTP
	passed, redirected                  = collatortest.Passthrough, collatortest.Redirected
	endpoints, certificate              = collatortest.Endpoints, collatortest.Certificate
	newRecorder, newRandom, someDomains = collatortest.NewRecorder, collatortest.NewRandom, collatortest.Domains
)

type (
	recorder = collatortest.Recorder
	discard  = collatortest.Discard
	random   = collatortest.Random
)

// step lets some sources say something, then runs a round.
func step(r random, c *Collator) {
	r.Say(c)
	c.round()
}
