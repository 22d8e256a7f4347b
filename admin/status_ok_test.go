package admin

import (
	"encoding/json"
	"testing"

	"relay/admin/api"
	"relay/collator"
)

// servedViews say what is served.
type servedViews struct {
	fakeViews
	served collator.Served
}

func (v servedViews) Served() collator.Served { return v.served }

// OK says what the findings say: an app that another load balancer may serve is no trouble.
func TestStatusOKAgrees(t *testing.T) {
	t.Parallel()
	for _, served := range []collator.Served{{Known: true, Domains: 3}, {Known: true, Domains: 3, InNoFleet: 1}, {Known: true, Domains: 3, WithoutTask: 1}, {}} {
		var status api.Status
		if err := json.Unmarshal([]byte(getPage(t, servedViews{served: served}, "/api/v1/status")), &status); err != nil {
			t.Fatal(err)
		}
		if len(status.Findings) == 0 || status.OK != (status.Findings[0].Level == api.OK) {
			t.Errorf("%s: ok is %v, beside %+v", served, status.OK, status.Findings)
		}
	}
}
