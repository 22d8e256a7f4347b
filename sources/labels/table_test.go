package labels

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/sources"
)

// TestEntries holds that each entry says all that an entry has to say.
func TestEntries(t *testing.T) {
	t.Parallel()
	keys, names, fields := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, l := range All() {
		if keys[l.Key] || names[l.name] || l.Field != "" && fields[l.Field] {
			t.Errorf("%s: another label has the same key, name or field", l.Key)
		}
		keys[l.Key], names[l.name], fields[l.Field] = true, true, true
		does := 0
		for _, is := range []bool{l.setting != nil, l.ofPort != nil, l.ofApp != nil, l.unsupported != "", l.noEffect} {
			if is {
				does++
			}
		}
		switch effect := l.unsupported == "" && !l.noEffect; {
		case does != 1:
			t.Errorf("%s does %d things", l.Key, does)
		case effect && (l.Field == "") == (l.noField == ""):
			t.Errorf("%s has a field of YAML files, or a reason why there is none: %q, %q", l.Key, l.Field, l.noField)
		case l.setting != nil && l.Field == "":
			t.Errorf("%s is a setting without a field", l.Key)
		case effect && (l.meaning == "" || l.example == ""):
			t.Errorf("%s has no meaning or no example", l.Key)
		case !effect && l.meaning == "" && l.unsupported == "":
			t.Errorf("%s does not say why it has no effect", l.Key)
		case l.setting == nil && (l.restricts || l.tooLong != nil || l.httpOnly || l.tcpOnly) || l.httpOnly && l.tcpOnly:
			t.Errorf("%s has marks that it cannot have", l.Key)
		case strings.Contains(l.Key, "{n}") == (l.ofApp != nil) && !l.noEffect || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(l.Key, p) }):
			t.Errorf("%s does not look like a label of its kind", l.Key)
		case len(l.name) > MaxKeyBytes-sources.MaxNameBytes:
			t.Errorf("%s is longer than what is looked at", l.Key)
		}
	}
}

// neededBy are labels without which others have no effect. None of the latter has one beside a
// deployment group.
var neededBy = map[string]map[string]string{
	"RELAY_WAKE_TIMEOUT":      {"RELAY_IDLE_AFTER": "1h"},
	"RELAY_WAKE_PAGE":         {"RELAY_IDLE_AFTER": "1h"},
	"RELAY_{n}_WAKE":          {"RELAY_IDLE_AFTER": "1h", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "7", "HAPROXY_0_VHOST": ""},
	"RELAY_{n}_PRIORITY":      {"RELAY_0_MAX_REQUESTS": "9"},
	"RELAY_SCALE":             {},
	"RELAY_SCALE_TARGET":      {"RELAY_SCALE": "1..3"},
	"RELAY_SCALE_DOWN_AFTER":  {"RELAY_SCALE": "1..3"},
	"RELAY_{n}_QUEUE":         {"RELAY_0_CONCURRENCY": "2"},
	"RELAY_{n}_QUEUE_TIMEOUT": {"RELAY_0_CONCURRENCY": "2"},

	"RELAY_{n}_JWT_ISSUER":            {"RELAY_0_JWT_JWKS": "https://a.test/", "RELAY_0_JWT_AUDIENCES": "a"},
	"RELAY_{n}_JWT_JWKS":              {"RELAY_0_JWT_ISSUER": "a", "RELAY_0_JWT_AUDIENCES": "a"},
	"RELAY_{n}_JWT_AUDIENCES":         {"RELAY_0_JWT_ISSUER": "a", "RELAY_0_JWT_JWKS": "https://a.test/"},
	"RELAY_{n}_JWT_CLAIMS_TO_HEADERS": {"RELAY_0_JWT_ISSUER": "a", "RELAY_0_JWT_JWKS": "https://a.test/", "RELAY_0_JWT_AUDIENCES": "a"},

	"RELAY_{n}_AUTH_APP_REQUEST_HEADERS":  {"RELAY_0_AUTH_APP": "/platform/sso"},
	"RELAY_{n}_AUTH_APP_RESPONSE_HEADERS": {"RELAY_0_AUTH_APP": "/platform/sso"},
	"RELAY_{n}_AUTH_APP_TIMEOUT":          {"RELAY_0_AUTH_APP": "/platform/sso"},

	"RELAY_{n}_CLIENT_CA":           {"RELAY_0_TLS_TERMINATE": "true"},
	"RELAY_{n}_CLIENT_SAN":          {"RELAY_0_TLS_TERMINATE": "true", "RELAY_0_CLIENT_CA": "devices"},
	"RELAY_{n}_CLIENT_CERTIFICATES": {"RELAY_0_TLS_TERMINATE": "true", "RELAY_0_CLIENT_CA": "devices"},
	"RELAY_{n}_TLS_PROFILE":         {"RELAY_0_TLS_TERMINATE": "true"},
	"RELAY_{n}_TLS_ALPN":            {"RELAY_0_TLS_TERMINATE": "true"},

	"RELAY_{n}_REDIS_PASSWORD":        {"RELAY_0_PROTOCOL": "redis", "HAPROXY_0_PORT": "7"},
	"RELAY_{n}_REDIS_SERVER_PASSWORD": {"RELAY_0_PROTOCOL": "redis", "HAPROXY_0_PORT": "7"},
	"RELAY_{n}_REDIS_PREFIXES":        {"RELAY_0_PROTOCOL": "redis"},
}

// labelsWith are labels beside which the one given has an effect, so far as it ever has.
func labelsWith(l *Label, value string) map[string]string {
	labels := map[string]string{"HAPROXY_GROUP": "internal", "HAPROXY_0_VHOST": "a.test", "HAPROXY_DEPLOYMENT_GROUP": "g"}
	if strings.HasPrefix(l.name, "TLS_") && !l.tcpOnly {
		labels["RELAY_0_TLS"] = "true"
	}
	if strings.HasPrefix(l.name, "CORS_") && l.name != "CORS_ORIGINS" {
		labels["RELAY_0_CORS_ORIGINS"] = "https://other.test"
	}
	if strings.HasPrefix(l.name, "OIDC_") {
		maps.Copy(labels, oidcNeeded)
		delete(labels, l.For("0"))
	}
	if l.tcpOnly {
		labels["HAPROXY_0_MODE"] = "tcp"
		labels["HAPROXY_0_PORT"] = "7"
	}
	if needed := neededBy[l.Key]; needed != nil {
		delete(labels, "HAPROXY_DEPLOYMENT_GROUP")
		maps.Copy(labels, needed)
	}
	if value != "" {
		labels[strings.Replace(l.For("0"), "*", "X", 1)] = value
	}
	return labels
}

// TestExamples holds that what the docs give as examples can be used and has an effect.
func TestExamples(t *testing.T) {
	t.Parallel()
	declared := []DeclaredPort{{ServicePort: 10001}}
	for _, l := range All() {
		examples := []string{l.example}
		for _, row := range l.more {
			examples = append(examples, row.example)
		}
		for _, example := range examples {
			if example == "" {
				continue
			}
			key := l.For("0")
			without, with := Read(labelsWith(l, ""), declared), Read(labelsWith(l, example), declared)
			if i := slices.IndexFunc(with.Problems, func(p problem.Problem) bool { return p.Subject == key }); i >= 0 {
				t.Errorf("%s: %q is a problem: %s", key, example, with.Problems[i].Reason)
			}
			with.Problems, without.Problems = nil, nil
			if reflect.DeepEqual(with, without) {
				t.Errorf("%s: %q changes nothing", key, example)
			}
		}
	}
}

// TestBadValues gives each label a value that it cannot have. That is a problem,
// and closes the port if the label restricts access.
func TestBadValues(t *testing.T) {
	t.Parallel()
	for _, l := range All() {
		value := "\x01 ?"
		switch {
		case l.noEffect:
			continue
		case strings.HasSuffix(l.Key, "GROUP") && l.Field != "deployment.group": // any other text names a group
			value = strings.Repeat("g,", sources.MaxGroups)
		}
		key := strings.Replace(l.For("0"), "*", "X", 1)
		got := Read(labelsWith(l, value), []DeclaredPort{{ServicePort: 10001}})
		if !slices.ContainsFunc(got.Problems, func(p problem.Problem) bool { return p.Subject == key }) {
			t.Errorf("%s: %q is no problem: %q", key, value, got.Problems)
		}
		h, tcp := got.Ports[0].HTTP, got.Ports[0].TCP
		closed := h != nil && h.Closed || tcp != nil && tcp.ServiceTLS != nil && tcp.ServiceTLS.Refused
		if l.restricts != closed {
			t.Errorf("%s: restricts is %t, and the port is %+v", key, l.restricts, got.Ports[0])
		}
	}
}

// TestDocsNameWhatMatters holds what the docs say about some labels beside the tables.
func TestDocsNameWhatMatters(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/labels.md")
	if err != nil {
		t.Fatal(err)
	}
	intro, _, _ := strings.Cut(string(text), "\n## ")
	_, tcp, _ := strings.Cut(string(text), "\n## TCP services\n")
	tcp, _, _ = strings.Cut(tcp, "\n## ")
	_, tcp, _ = strings.Cut(tcp, tableEnd)
	for _, l := range AllSettings() {
		if l.restricts != strings.Contains(intro, code(l.name)) {
			t.Errorf("restricts of %s is %t, and the introduction of docs/labels.md says something else", l.Key, l.restricts)
		}
		if !l.httpOnly && !l.tcpOnly && !strings.Contains(tcp, code(l.name)) {
			t.Errorf("docs/labels.md does not say what %s means to TCP services", l.Key)
		}
	}
}
