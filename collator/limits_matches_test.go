package collator

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"relay/collator/collatortest"
	"relay/sources"
	"relay/xds"
)

// TestMatchesCount holds the same of what requests must be like.
func TestMatchesCount(t *testing.T) {
	t.Parallel()
	sizes := func(matches []sources.Match) (counted, real int) {
		c, _ := newTest(t, Config{})
		app := webApp("/a", "a.test")
		app.Ports[0].HTTP = &sources.HTTP{Match: matches, Sticky: true}
		syncApps(c, app)
		scope, err := message(c.fleets[0], xds.Key{Type: xds.Scope, Name: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		return requestSize(app.Ports[0]), proto.Size(scope)
	}
	counted, real := sizes(nil)
	for i, m := range collatortest.Matches() {
		countedWith, realWith := sizes([]sources.Match{m, m})
		if added, counts := realWith-real, countedWith-counted; added > counts+128 {
			t.Errorf("%d adds %d bytes to a scope, and %d count in requestSize", i, added, counts)
		}
	}
}
