package vault

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzLive takes "live" as Vault hands it out, through the whole of what is
// done with it without a network.
func FuzzLive(f *testing.F) {
	for _, live := range []string{
		`{"data":{"a.test":"{\"version\": 3, \"fingerprint\": \"ab12\", \"dns_names\": [\"a.test\"]}"},"metadata":{"version":17}}`,
		`{"data":null,"metadata":{"version":1,"deletion_time":"2026-01-01T00:00:00Z"}}`,
		`{"data":{"a":{"version":1},"b":[],"c":7,"d":null,"e":true,"f":"[[[","g":"{\"version\":null}"},"metadata":{"version":2}}`,
		`{"data":{"a":{"version":9223372036854775807},"b":{"version":1e400},"c":{"version":1e2},"d":{"version":1.5},"e":{"version":-1}},"metadata":{"version":1}}`,
		`{"data":{"a":{"version":1,"dns_names":"x"},"b":{"version":1,"dns_names":[null,{}]},"c":{"version":1,"fingerprint":7}},"metadata":{"version":1}}`,
		`{"data":[],"metadata":{"version":1}}`, `{"data":{"a":1},"metadata":{"version":1e99}}`, `{"data":{}}`, `null`, `7`, `"live"`, `[{}]`, ``,
		"{\"data\":{\"\xff.test\":\"{\\\"version\\\":1}\",\"\\ud800\":{\"version\":1}},\"metadata\":{\"version\":1}}",
		`{"data":{"../live":{"version":1},"a/b":{"version":1},"a\u0000":{"version":1},".":{"version":1},"?x=y#z":{"version":1}},"metadata":{"version":1}}`,
		`{"data":{"` + strings.Repeat("long.", 1000) + `":{"version":1},"a":"` + strings.Repeat(`[`, 20000) + `"},"metadata":{"version":1}}`,
		`{"data":{"a":{"version":1,"version":2},"a":{"version":3}},"metadata":{"version":1},"metadata":null}`,
	} {
		f.Add([]byte(live))
	}
	f.Fuzz(func(t *testing.T, live []byte) {
		got, ok := decodeEntry(live)
		if !ok {
			return
		}
		var parser liveParser
		good, bad := parser.parse(got.data)
		if again, badAgain := parser.parse(got.data); !cmp.Equal(good, again) || !cmp.Equal(bad, badAgain) {
			t.Errorf("parsed again: %v, %v; want %v, %v", again, badAgain, good, bad)
		}
		if len(good)+len(bad) != len(got.data) {
			t.Fatalf("%d good and %d bad of %d", len(good), len(bad), len(got.data))
		}
		s := newKnown("")
		wanted := s.update(good, bad, false)
		for name, entry := range wanted {
			if entry.Version < 1 || checkName(name) != nil {
				t.Errorf("version %d of %q is wanted", entry.Version, name)
			}
			s.apply(fetched{name: name, live: entry, got: kvEntry{version: entry.Version}}, time.Now())
		}
		certificates, problems := s.collect(time.Now())
		if len(certificates) != 0 || len(problems) != len(got.data) {
			t.Errorf("%d certificates and %d problems of %d entries", len(certificates), len(problems), len(got.data))
		}
		for _, p := range problems {
			if !utf8.ValidString(p.Subject) || len(p.Subject) > 260 || len(p.Reason) > 300 {
				t.Errorf("problem %+v", p)
			}
		}
		if len(s.update(nil, nil, true)) != 0 || !s.empty() {
			t.Error("names that left live are kept")
		}
	})
}

// FuzzName sends names to a server, to see where they lead it.
func FuzzName(f *testing.F) {
	for _, name := range []string{
		"a.test", "*.a.test", "*", "a b", "a?version=1", "a#b", "a%2fb", "a%2F..%2Flive", "%", "%zz", "..", ".", "a/../b", `a\b`, "a;b", "ü", "\xff", "a\u2028b",
		"a:b", "http://x", "//x", "a&b=c", "a+b", "\u202e",
	} {
		f.Add(name)
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		reply(w, 404, `{"errors":[]}`)
	}))
	f.Cleanup(server.Close)
	config, addresses, err := Config{Addresses: []string{server.URL + "/base"}, Token: "hush"}.withDefaults()
	if err != nil {
		f.Fatal(err)
	}
	api, transport, err := newAPIClient(config, addresses)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(transport.base.CloseIdleConnections)
	c := &client{api: api, auth: &auth{config: config, api: api, logger: discard()}, mount: "kv/acme", prefix: "team/"}
	f.Fuzz(func(t *testing.T, name string) {
		encoded, err := json.Marshal(map[string]any{name: map[string]any{"version": 1}})
		if err != nil {
			t.Fatal(err)
		}
		var live map[string]json.RawMessage
		if err := json.Unmarshal(encoded, &live); err != nil {
			t.Fatal(err)
		}
		good, _ := new(liveParser).parse(live)
		for name := range good {
			asked = nil
			got := fetched{name: name, live: liveEntry{Version: 7}}
			(&reader{client: c}).fetch(t.Context(), &got)
			if got.err != nil {
				t.Fatalf("%q: %v", name, got.err)
			}
			if len(asked) != 2 {
				t.Fatalf("%q: asked for %q", name, asked)
			}
			for i, query := range []string{"version=7", ""} {
				uri, err := url.ParseRequestURI(asked[i])
				if err != nil {
					t.Fatal(err)
				}
				if want := "/base/v1/kv/acme/data/team/certificates/" + name; uri.Path != want || uri.RawQuery != query {
					t.Errorf("%q leads to %q, not to %q", name, uri, want)
				}
			}
		}
	})
}

func FuzzParseCertificate(f *testing.F) {
	block := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	f.Add([]byte(`{"privkey": "x", "cert": ` + fmt.Sprintf("%q", block) + `, "chain": ""}`))
	f.Add([]byte(`{"privkey": 7}`))
	f.Add([]byte(`{"privkey": null, "cert": [], "chain": {}, "key": "\ud800", "cert_chain": 1e999}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		var fields map[string]json.RawMessage
		if json.Unmarshal(entry, &fields) != nil {
			return
		}
		c, _, err := parseCertificate(fields)
		if (c == nil) == (err == nil) {
			t.Error(cmp.Diff(c, err))
		}
	})
}
