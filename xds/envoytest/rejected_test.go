package envoytest_test

import (
	"strings"
	"testing"

	"relay/xds/envoytest"
)

// step is a response and what Envoy makes of it.
type step struct {
	// send has the resources of a response, with their contents, and the names of
	// those removed: "n=A o=B -p". The word again is for a new stream.
	send string
	// answer is ack or nack; for a new stream the versions that Envoy tells, which
	// here are contents.
	answer string
	// served are contents in force afterwards: "n=A o=".
	served string
}

const (
	ack   = "ACK"
	nack  = "NACK"
	again = "again"
)

// What Envoy makes of content that it rejected, when that comes again.
var (
	// looksAgain: Envoy rejects it each time, and on a new stream tells the version before.
	looksAgain = []step{
		{"n=A", ack, "n=A"},
		{"n=X", nack, "n=A"},
		{"n=X", nack, "n=A"},
		{"n=B", ack, "n=B"},
		{"n=X", nack, "n=B"},
		{again, "n=B", "n=B"},
		{"n=X", nack, "n=B"},
		{"n=B", ack, "n=B"},
	}
	looksAgainAtFirst = []step{
		{"n=X", nack, "n="},
		{"n=X", nack, "n="},
		{again, "", "n="},
		{"n=X", nack, "n="},
		{"n=A", ack, "n=A"},
	}
	// skips: Envoy rejects it the first time only. Then it acknowledges it, and says that it has
	// it, but does not serve it, until something else has come in between, good or bad.
	skips = []step{
		{"n=A o=A", ack, "n=A o=A"},
		{"n=X", nack, "n=A"},
		{again, "n=A o=A", "n=A"},
		{"n=X", ack, "n=A"},
		{"n=X o=B", ack, "n=A o=B"},
		{again, "n=X o=B", "n=A o=B"},
		{"n=A", ack, "n=A"},
		{"n=X", nack, "n=A"},
		{"n=x", nack, "n=A"},
		{"n=X", nack, "n=A"},
		{"n=B", ack, "n=B"},
	}
	skipsAtFirst = []step{
		{"n=X", nack, "n="},
		{"n=X", ack, "n="},
		{again, "n=X", "n="},
		{"n=X", ack, "n="},
		{"n=A", ack, "n=A"},
	}
)

// What Envoy makes of the other resources in a response that it rejects for one.
var (
	// takes: Envoy takes all of them over and carries out removals. But on a new stream it tells
	// the versions before, also of what was removed.
	takes = []step{
		{"n=A o=A", ack, "n=A o=A"},
		{"o=B n=X", nack, "n=A o=B"},
		{"o=B", ack, "o=B"},
		{"n=X o=A", nack, "n=A o=A"},
		{again, "n=A o=B", "n=A o=A"},
		{"o=A", ack, "o=A"},
		{"n=X -o", nack, "n=A o="},
		{again, "n=A o=A", "n=A o="},
		{"o=A", ack, "o=A"},
	}
	// notesWithoutServing: Envoy does not serve those before the bad one, nor when they come again:
	// it believes that it has them. Other content helps, and other bytes of the same meaning. It
	// carries out removals, as above.
	notesWithoutServing = []step{
		{"n=A o=A", ack, "n=A o=A"},
		{"n=X o=B", nack, "n=A o=A"},
		{"o=B", ack, "o=B"},
		{"o=A n=X", nack, "n=A o=B"},
		{"o=A", ack, "o=B"},
		{again, "n=A o=A", "o=B"},
		{"o=A", ack, "o=B"},
		{"o=B", ack, "o=B"},
		{"o=A", ack, "o=A"},
		{"o=B n=X", nack, "o=A"},
		{"o=b", ack, "o=B"},
		{"n=X -o", nack, "n=A o="},
		{again, "n=A o=b", "n=A o="},
		{"o=b n=X", nack, "o="},
		{"o=b", ack, "o="},
		{"-o", ack, "o="},
		{"o=b", ack, "o=B"},
	}
	// leavesSome: Envoy takes over some, by chance; and all when they come again.
	leavesSome = []step{
		{"n=A o=A", ack, "n=A o=A"},
		{"o=B n=X", nack, "n=A"},
		{"o=B", ack, "n=A o=B"},
	}
)

// Relay takes an ACK to mean that Envoy serves the resource. Where Envoy does otherwise, Relay has to
// know. A version of Envoy that differs from this fails here.
func TestRejected(t *testing.T) {
	t.Parallel()
	facts := []struct {
		typ   *resourceType
		name  string
		steps []step
	}{
		{clusters, "again", looksAgain},
		{clusters, "again, at first", looksAgainAtFirst},
		{clusters, "others", takes},
		{endpoints, "again", looksAgain},
		{endpoints, "again, at first", looksAgainAtFirst},
		{endpoints, "others", leavesSome},
		{listeners, "again", looksAgain},
		{listeners, "again, at first", looksAgainAtFirst},
		{listeners, "others", takes},
		{addresses, "again", looksAgain},
		{addresses, "again, at first", looksAgainAtFirst},
		{addresses, "others", takes},
		{scopes, "again", looksAgain},
		{scopes, "again, at first", looksAgainAtFirst},
		{scopes, "others", notesWithoutServing},
		{secrets, "again", skips},
		{secrets, "again, at first", skipsAtFirst},
		{secrets, "others", leavesSome},
		{extensions, "again", skips},
		{extensions, "others", leavesSome},
	}
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		for _, fact := range facts {
			t.Run(fact.typ.name+" "+fact.name, func(t *testing.T) {
				t.Parallel()
				e := newTestEnvoy(t, version)
				fact.typ.setUp(e, "n", "o", marker)
				for i, s := range fact.steps {
					e.step(fact.typ, i, s)
				}
			})
		}
	})
}

// step makes a step.
func (e *testEnvoy) step(typ *resourceType, i int, s step) {
	e.t.Helper()
	switch answer := e.make(typ, s.send); {
	case answer != s.answer && s.answer == nack:
		e.t.Fatalf("step %d, %s: Envoy says %s, want a rejection", i, s.send, answer)
	case answer != s.answer:
		e.t.Fatalf("step %d, %s: Envoy says %s, want %s", i, s.send, answer, s.answer)
	}
	e.reached(typ)
	for _, want := range strings.Fields(s.served) {
		name, content, _ := strings.Cut(want, "=")
		e.served(typ, name, content)
	}
}

// make sends what a step says, or ends the stream, and returns what Envoy says.
func (e *testEnvoy) make(typ *resourceType, what string) string {
	e.t.Helper()
	if what == again {
		versions := e.reconnect(typ.url)
		var told []string
		for _, name := range []string{"n", "o"} {
			if version, ok := versions[name]; ok {
				told = append(told, name+"="+version)
			}
		}
		return strings.Join(told, " ")
	}
	var set []named
	var removed []string
	for _, word := range strings.Fields(what) {
		name, content, ok := strings.Cut(word, "=")
		if !ok {
			removed = append(removed, strings.TrimPrefix(name, "-"))
			continue
		}
		set = append(set, named{name, content, typ.build(e, name, content)})
	}
	rejection := e.send(typ.url, set, removed...)
	if rejection == "" {
		return ack
	}
	e.t.Logf("%s: %s", what, rejection)
	return nack
}
