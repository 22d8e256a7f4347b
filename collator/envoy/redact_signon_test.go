package envoy_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	oauth2v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	"google.golang.org/protobuf/encoding/prototext"

	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/sources"
)

// What may be secret in the query of a URL by which an Envoy asks is not shown.
func TestAskedURLsAreNotShown(t *testing.T) {
	t.Parallel()
	fleet := collatortest.Fleet()
	fleet.ExternalHosts = []string{"id.test:80"}
	store, c := storeOf(t, fleet, []*sources.App{
		webApp("/shop/sso", "sso.test"),
		set(t, webApp("/shop/asks", "asks.test"), "AUTH_APP=/shop/sso /auth?k=hunter2"),
		set(t, webApp("/shop/token", "token.test"), "JWT_ISSUER=i", "JWT_AUDIENCES=a", "JWT_JWKS=http://id.test/keys?k=hunter2"),
		set(t, webApp("/shop/moved", "moved.test"), "REDIRECT=/a -> https://b.test/?k=hunter2 302"),
	}, nil)
	flushed(t, c)
	_, text := dumped(t, store, envoy.DumpFilter{})
	for _, shown := range []string{"/auth?[redacted]", "http://id.test:80/keys?[redacted]", "moved.test"} {
		if !strings.Contains(text, shown) {
			t.Errorf("it lacks %s", shown)
		}
	}
	config := &oauth2v3.OAuth2Config{
		TokenEndpoint:         &corev3.HttpUri{Uri: "https://id.test/t?k=hunter2"},
		AuthorizationEndpoint: "https://id.test/a?k=hunter2", EndSessionEndpoint: "https://id.test/e?k=hunter2",
	}
	envoy.Redact(config)
	if text += prototext.Format(config); strings.Contains(text, "hunter2") {
		at := strings.Index(text, "hunter2")
		t.Errorf("shown: %s", text[max(0, at-300):min(len(text), at+20)])
	}
}
