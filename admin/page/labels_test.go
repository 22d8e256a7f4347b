package page

import (
	"testing"

	"relay/admin/api"
)

// A problem stands beside the label that it is about, whether it was found by a label or by a fleet.
func TestProblemsBesideLabels(t *testing.T) {
	t.Parallel()
	story := &api.AppStory{Labels: map[string]string{"RELAY_0_MIRROR": "/a 5%", "RELAY_0_COMPRESS": "maybe", "HAPROXY_GROUP": "external"}, Problems: []api.Problem{
		{Item: "port 0, RELAY_0_MIRROR", Reason: "there is no such app"}, {Item: "RELAY_0_COMPRESS", Reason: "is not understood"}, {Item: "port 0", Reason: "has no task"},
	}}
	want := map[string]string{"RELAY_0_MIRROR": "there is no such app", "RELAY_0_COMPRESS": "is not understood", "HAPROXY_GROUP": ""}
	for _, l := range labelsOf(story).Shown {
		if l.Problem != want[l.Name] {
			t.Errorf("beside %s: %q", l.Name, l.Problem)
		}
	}
}
