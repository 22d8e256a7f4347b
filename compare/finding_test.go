package compare

import (
	"fmt"
	"strings"
	"testing"
)

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	r := NewReport()
	tally := r.tally(Rules, "external")
	for i := range MaxFindings + 10 {
		r.count(tally, []Finding{{Verdict: Different, Kind: Extra, Subject: fmt.Sprintf("d%d.test/", i), Reason: "the same for all"}})
	}
	if len(r.Findings) != MaxFindings || r.LeftOut != 10 || tally.Different != MaxFindings+10 {
		t.Errorf("%d findings, %d left out, %d different", len(r.Findings), r.LeftOut, tally.Different)
	}
	var text strings.Builder
	if err := r.WriteText(&text, false); err != nil || text.Len() > 2_000 || !strings.Contains(text.String(), "and 10 findings more") {
		t.Errorf("%v: the text has %d bytes", err, text.Len())
	}
}
