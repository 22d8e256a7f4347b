package compare

import (
	"net/http"
	"testing"
)

// HAProxy answers with the path of a label, Envoy with scheme and host as well.
func TestWhereRedirectsLead(t *testing.T) {
	t.Parallel()
	to := func(location string) []answer {
		return []answer{{status: 301, header: http.Header{"Location": {location}}}}
	}
	for _, tt := range []struct {
		old, new string
		secure   bool
		same     bool
	}{
		{"/start", "http://a.test/start", false, true},
		{"/start", "https://a.test/start", true, true},
		{"/start", "https://a.test/start", false, false},
		{"/start", "http://b.test/start", false, false},
		{"start?x=1", "http://a.test/docs/start?x=1", false, true},
		{"/start", "", false, false},
		{"http://[", "http://[", false, true},
	} {
		p := pair{probe: probe{"a.test", "/docs/"}, secure: tt.secure, old: to(tt.old), new: to(tt.new)}
		found := p.compareHeaders()
		if same := len(found) == 0; same != tt.same || !same && found[0].Kind != Location {
			t.Errorf("%+v: %+v", tt, found)
		}
	}
}
