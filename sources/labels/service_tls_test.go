package labels

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

// TestServiceTLS says what becomes of the labels for TLS that ends at Envoy: a restriction that is not
// understood, or cannot be kept, lets nobody in.
func TestServiceTLS(t *testing.T) {
	t.Parallel()
	type settings map[string]string
	name := func(kind sources.NameType, value string, prefix bool) sources.ClientName {
		return sources.ClientName{Type: kind, Value: value, Prefix: prefix}
	}
	names := func(names ...sources.ClientName) *sources.ServiceTLS {
		return &sources.ServiceTLS{ClientCA: "devices", ClientNames: names}
	}
	terminate := func(more settings) settings {
		all := settings{"TLS_TERMINATE": "true"}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	withCA := func(more settings) settings {
		all := terminate(more)
		all["CLIENT_CA"] = "devices"
		return all
	}
	refused := &sources.ServiceTLS{Refused: true}
	refusedCA := &sources.ServiceTLS{ClientCA: "devices", Refused: true}
	tests := []struct {
		name     string
		settings settings
		want     *sources.ServiceTLS
		closed   bool
		problems []string
	}{
		{name: "nothing", settings: settings{"MODE": "tcp"}},
		{name: "alone", settings: terminate(nil), want: &sources.ServiceTLS{}},
		{name: "false", settings: settings{"MODE": "tcp", "TLS_TERMINATE": "no"}},
		{name: "unclear", settings: settings{"TLS_TERMINATE": "maybe"}, want: &sources.ServiceTLS{}, problems: []string{"TLS_TERMINATE: \"maybe\" is taken as true"}},
		{name: "with pass-through", settings: terminate(settings{"TLS_PASSTHROUGH": "true"}), want: &sources.ServiceTLS{}, problems: []string{"TLS_PASSTHROUGH: has no effect"}},
		{name: "profile", settings: terminate(settings{"TLS_PROFILE": "Old"}), want: &sources.ServiceTLS{Profile: sources.TLSOld}},
		{name: "protocols", settings: terminate(settings{"TLS_ALPN": " postgresql, http/1.1 "}), want: &sources.ServiceTLS{ALPN: []string{"postgresql", "http/1.1"}}},
		{name: "odd protocol", settings: terminate(settings{"TLS_ALPN": "postgresql a%b"}), want: &sources.ServiceTLS{}, problems: []string{`TLS_ALPN: "a%b" is no name`}},
		{name: "long protocol", settings: terminate(settings{"TLS_ALPN": strings.Repeat("p", 33)}), want: &sources.ServiceTLS{}, problems: []string{"TLS_ALPN"}},
		{name: "many protocols", settings: terminate(settings{"TLS_ALPN": "1 2 3 4 5 6 7 8 9"}), want: &sources.ServiceTLS{}, problems: []string{"more than 8"}},
		{name: "protocols without TLS", settings: settings{"MODE": "tcp", "TLS_ALPN": "postgresql"}, problems: []string{"TLS_ALPN: has no effect without TLS_TERMINATE"}},
		{name: "unknown profile", settings: terminate(settings{"TLS_PROFILE": "best"}), want: &sources.ServiceTLS{}, problems: []string{"TLS_PROFILE"}},
		{name: "authority", settings: withCA(nil), want: names()},
		{name: "bad authority", settings: terminate(settings{"CLIENT_CA": "../x"}), want: refused, problems: []string{"CLIENT_CA"}},
		{name: "empty authority", settings: terminate(settings{"CLIENT_CA": ""}), want: refused, problems: []string{"CLIENT_CA"}},
		{name: "optional", settings: withCA(settings{"CLIENT_CERTIFICATES": "optional"}), want: &sources.ServiceTLS{ClientCA: "devices", OptionalCertificate: true}},
		{name: "unclear whether optional", settings: withCA(settings{"CLIENT_CERTIFICATES": "optionl"}), want: names(), problems: []string{"taken as required"}},
		{name: "optional with names", settings: withCA(settings{"CLIENT_CERTIFICATES": "optional", "CLIENT_SAN": "a.test"}), want: names(name("dns", "a.test", false)),
			problems: []string{"CLIENT_CERTIFICATES: is taken as required"}},
		{name: "names", settings: withCA(settings{"CLIENT_SAN": "uri:spiffe://lab.test/tenant/acme/*, spiffe://lab.test/x dns:Dev1.Test\temail:a@lab.test dns:dev*"}), want: names(
			name("uri", "spiffe://lab.test/tenant/acme/", true), name("uri", "spiffe://lab.test/x", false), name("dns", "dev1.test", false),
			name("email", "a@lab.test", false), name("dns", "dev", true))},
		{name: "no names", settings: withCA(settings{"CLIENT_SAN": " , "}), want: refusedCA, problems: []string{"CLIENT_SAN: names nobody"}},
		{name: "any name", settings: withCA(settings{"CLIENT_SAN": "uri:*"}), want: refusedCA, problems: []string{"CLIENT_SAN"}},
		{name: "star in the middle", settings: withCA(settings{"CLIENT_SAN": "uri:spiffe://*/x"}), want: refusedCA, problems: []string{"CLIENT_SAN"}},
		{name: "one bad name of two", settings: withCA(settings{"CLIENT_SAN": "a.test urn:x:y"}), want: refusedCA, problems: []string{"CLIENT_SAN"}},
		{name: "wildcard", settings: withCA(settings{"CLIENT_SAN": "*.a.test"}), want: refusedCA, problems: []string{"CLIENT_SAN"}},
		{name: "a long name of DNS", settings: withCA(settings{"CLIENT_SAN": strings.Repeat("a.", 39) + "test"}), want: refusedCA, problems: []string{"more than 80 bytes"}},
		{name: "other characters", settings: withCA(settings{"CLIENT_SAN": "uri:spiffe://lab.test/é"}), want: refusedCA, problems: []string{"CLIENT_SAN"}},
		{name: "too many names", settings: withCA(settings{"CLIENT_SAN": strings.Repeat("a.test ", MaxClientNames+1)}), want: refusedCA, problems: []string{"more than 100"}},
		{name: "names alone", settings: terminate(settings{"CLIENT_SAN": "a.test"}), want: &sources.ServiceTLS{Refused: true, ClientNames: names(name("dns", "a.test", false)).ClientNames}, problems: []string{"without CLIENT_CA"}},
		{name: "required alone", settings: terminate(settings{"CLIENT_CERTIFICATES": "required"}), want: refused, problems: []string{"without CLIENT_CA"}},
		{name: "optional alone", settings: terminate(settings{"CLIENT_CERTIFICATES": "optional"}), want: &sources.ServiceTLS{}, problems: []string{"has no effect"}},
		{name: "authority without TLS", settings: settings{"MODE": "tcp", "CLIENT_CA": "devices"}, closed: true, problems: []string{"TLS_TERMINATE"}},
		{name: "authority by HTTP", settings: settings{"MODE": "http", "CLIENT_CA": "devices"}, closed: true, problems: []string{"TLS_TERMINATE"}},
		{name: "TLS by HTTP", settings: settings{"MODE": "http", "TLS_TERMINATE": "true", "CLIENT_SAN": "a.test"}, closed: true, problems: []string{"CLIENT_SAN", "TLS_TERMINATE: is not supported"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := NewSettings()
			for _, l := range AllSettings() {
				if value, ok := tt.settings[l.Name()]; ok {
					p.Set(l.Name(), value)
				}
			}
			tcp := p.TCP(8883, true)
			h, _, problems := p.Finish()
			var got *sources.ServiceTLS
			if tcp != nil {
				got = tcp.ServiceTLS
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("TLS (-want +got):\n%s", diff)
			}
			if got != nil && (tcp.Port != 8883 || tcp.Passthrough || tcp.Implicit) {
				t.Errorf("%+v", tcp)
			}
			if closed := h != nil && h.Closed; closed != tt.closed {
				t.Errorf("closed: %t", closed)
			}
			wantProblems(t, problems, tt.problems)
		})
	}
}
