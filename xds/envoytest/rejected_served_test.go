package envoytest_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/certs/certstest"
	"relay/xds"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

var (
	// authorities are those of clients, which chains name beside their certificate.
	authorities = &resourceType{"authorities", xds.Secret.URL(), nil, buildAuthority, servedAuthority}
	// stapled are certificates that Envoy rejects though the key belongs to them: they need an
	// OCSP response.
	stapled = &resourceType{"must-staple certificates", xds.Secret.URL(), nil, buildStapled, servedSecret}
	// matched are extensions within a matcher, as Relay makes them.
	matched = &resourceType{"matched extensions", xds.ExtensionConfig.URL(), nil, buildMatched, servedExtension}
)

func buildAuthority(e *testEnvoy, name, content string) proto.Message {
	text := string(e.client(name, content).Root)
	if content == bad {
		text = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(text)}}}
}

func buildStapled(e *testEnvoy, name, content string) proto.Message {
	if content != bad {
		return buildSecret(e, name, content)
	}
	if e.stapled == nil {
		e.stapled = e.ca.TestNamedOdd(e.t, "must-staple")
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(string(e.stapled.Leaf)), PrivateKey: inline(string(e.stapled.Key)),
	}}}
}

// client is a client's certificate, of an authority of its own.
func (e *testEnvoy) client(name, content string) *certstest.Issued {
	e.t.Helper()
	key := "client of " + name + content
	if e.pairs[key] == nil {
		e.pairs[key] = certstest.TestCA(e.t).TestIssue(e.t, []string{"client.test"}, certstest.Options{})
	}
	return e.pairs[key]
}

// servedAuthority is the content whose clients get in, and no others.
func servedAuthority(e *testEnvoy, name string) string {
	var in []string
	for _, content := range []string{good, other} {
		issued := e.client(name, content)
		own, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
		if err != nil {
			e.t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", e.at(""), &tls.Config{ServerName: name + ".test", InsecureSkipVerify: true, Certificates: []tls.Certificate{own}})
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(maxWait))
		if text, _ := io.ReadAll(conn); string(text) == "hello" {
			in = append(in, content)
		}
		_ = conn.Close()
	}
	return strings.Join(in, " and ")
}

func buildMatched(e *testEnvoy, name, content string) proto.Message {
	within := buildExtension(e, name, content).(*corev3.TypedExtensionConfig)
	within.Name = "lua"
	run := packed(e.t, &compositev3.ExecuteFilterAction{TypedConfig: within})
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: packed(e.t, &matchingv3.ExtensionWithMatcher{
		ExtensionConfig: &corev3.TypedExtensionConfig{Name: "composite", TypedConfig: packed(e.t, &compositev3.Composite{})},
		XdsMatcher: &xdsmatcherv3.Matcher{OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: run},
		}}},
	})}
}

// places are types, and what names their resources n and o.
var places = []struct {
	typ  *resourceType
	fill func(s *site)
}{
	{clusters, func(*site) {}},
	{endpoints, func(s *site) {
		s.put(clusters.url, named{name: "n", message: clusterWithEndpoints("n", time.Second)}, named{name: "o", message: clusterWithEndpoints("o", time.Second)})
	}},
	{listeners, func(*site) {}},
	{addresses, func(*site) {}},
	{scopes, func(s *site) { s.put(listeners.url, named{name: "http", message: s.scopedListener()}) }},
	{secrets, func(s *site) { s.put(listeners.url, named{name: "tls", message: s.certificateListener("n", "o")}) }},
	{stapled, func(s *site) { s.put(listeners.url, named{name: "tls", message: s.certificateListener("n", "o")}) }},
	{authorities, func(s *site) { s.put(listeners.url, named{name: "tls", message: s.authorityListener("n", "o")}) }},
	{matched, func(s *site) {
		// Extensions wait for scopes: Envoy has to ask for them.
		routes := s.scopedListener()
		routes.Name, routes.Address = "scoped", socket("127.0.0.1", s.ports[marker])
		s.put(listeners.url, named{name: "scoped", message: routes},
			named{name: "http", message: s.extensionListener(&matchingv3.ExtensionWithMatcher{}, "n", "o")})
	}},
}

// authorityListener has a filter chain for each of the authorities.
func (s *site) authorityListener(names ...string) *listenerv3.Listener {
	s.t.Helper()
	// The certificate is no secret: while authorities are rejected, Envoy rejects all that
	// the chain needs beside.
	certificate := buildSecret(s.testEnvoy, "certificate", good).(*tlsv3.Secret).GetTlsCertificate()
	var chains []*listenerv3.FilterChain
	for _, name := range names {
		chains = append(chains, chainWith(s.t, name, &tlsv3.CommonTlsContext{
			TlsCertificates:       []*tlsv3.TlsCertificate{certificate},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: secretOf(name)},
		}))
	}
	return s.tlsListener(chains...)
}

// A resource is shown as rejected for as long as it is not served. That holds too if Envoy would
// skip it because it came before, and if another Relay sent it. The others in the response are
// served. Once repaired, it is served, and no rejection is shown.
func TestRejectedIsShownUntilItIsServed(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		for _, place := range places {
			t.Run(place.typ.name, func(t *testing.T) {
				t.Parallel()
				typ := place.typ
				s := newSite(t, version, func(s *site) {
					place.fill(s)
					s.set(content{typ, "n", bad}, content{typ, "o", good})
				})
				s.stays(typ, none)
				s.set(content{typ, "n", good})
				s.repaired(typ, good, good)

				s.set(content{typ, "n", bad}, content{typ, "o", other})
				s.shows(typ, "o", xds.Acknowledged)
				s.served(typ, "o", other)
				s.stays(typ, good)
				// Another Relay brings changes at once. What Envoy has of them it does not know.
				s.set(content{typ, "o", good})
				s.shows(typ, "o", xds.Acknowledged)
				s.reconnect(another, content{typ, "n", other}, content{typ, "o", other})
				s.repaired(typ, other, other)
			})
		}
	})
}

// stays makes sure that n is shown as rejected, and older content served, whatever
// Relay Envoy comes to.
func (s *site) stays(typ *resourceType, older string) {
	s.t.Helper()
	for _, how := range []reconnection{"", cut, another, another} {
		if how != "" {
			s.reconnect(how)
		}
		s.shows(typ, "n", xds.Rejected)
		s.shows(typ, "o", xds.Acknowledged)
		s.served(typ, "n", older)
		if got := s.rejections(); got != "n" {
			s.t.Fatalf("%s: rejected are %q, want n alone", how, got)
		}
	}
}

// repaired makes sure that all is served.
func (s *site) repaired(typ *resourceType, n, o string) {
	s.t.Helper()
	s.served(typ, "n", n)
	s.served(typ, "o", o)
	s.shows(typ, "n", xds.Acknowledged)
	s.shows(typ, "o", xds.Acknowledged)
	if got := s.rejections(); got != "" {
		s.t.Fatalf("rejected are %q, want none", got)
	}
}

// A rejected secret costs only itself: a listener that is changed meanwhile, or names the secret
// anew, is not rejected for it if a good version is known. If none is, the listener is opened as soon
// as the secret is repaired.
func TestListenerIsServedBesideARejectedSecret(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		s := newSite(t, version, func(s *site) {
			s.put(listeners.url, named{name: "tls", message: s.certificateListener("n")})
			s.set(content{secrets, "n", good}, content{secrets, "o", bad})
		})
		change := func(buffer uint32, names ...string) {
			changed := s.certificateListener(names...)
			changed.PerConnectionBufferLimitBytes = wrapperspb.UInt32(buffer)
			s.put(listeners.url, named{name: "tls", message: changed})
		}
		s.served(secrets, "n", good)
		s.reconnect(another) // what Envoy tells of is known to be good
		s.shows(secrets, "n", xds.Acknowledged)
		s.set(content{secrets, "n", bad})
		s.shows(secrets, "n", xds.Rejected)
		change(1<<16, "n")
		s.shows(listeners, "tls", xds.Acknowledged)
		s.served(secrets, "n", good)
		if got := s.rejections(); got != "n" {
			t.Fatalf("rejected are %q, want n", got)
		}

		// No good version of o is known.
		change(1<<16, "n", "o")
		s.shows(secrets, "o", xds.Rejected)
		change(1<<17, "n", "o")
		s.shows(listeners, "tls", xds.Rejected)
		mended := time.Now()
		s.set(content{secrets, "o", good})
		s.served(secrets, "o", good)
		s.shows(listeners, "tls", xds.Acknowledged)
		if took := time.Since(mended); took > 9*time.Second {
			t.Errorf("the listener was served %s after the secret: only the next try helped", took)
		}
		s.served(secrets, "n", good)
		s.set(content{secrets, "n", other})
		s.served(secrets, "n", other)
		if got := s.rejections(); got != "" {
			t.Errorf("rejected are %q, want none", got)
		}
	})
}

// If one scope of a response is bad, Envoy notes some of the good ones and does not serve them, nor
// when the same bytes come again. They are served all the same, whatever their order, and also if the
// stream ends during the search for the culprit.
func TestScopesBesideARejectedOneAreServed(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		s := newSite(t, version, func(s *site) {
			s.put(listeners.url, named{name: "http", message: s.scopedListener()})
			s.set(content{scopes, marker, good})
		})
		s.served(scopes, marker, good)
		for i, how := range []reconnection{"", "", "", "", cut, cut, another, cut, cut, another, cut, cut, another} {
			answer, culprit := (i-1)/3, i%4 // the answer that is lost, and the place of the bad one
			var names []string
			for j := range 4 {
				names = append(names, fmt.Sprintf("s%d-%d", i, j))
			}
			for _, is := range []string{good, other} {
				var all []content
				for j, name := range names {
					all = append(all, content{scopes, name, map[bool]string{true: bad, false: is}[j == culprit]})
				}
				if how == "" {
					s.set(all...)
				} else {
					s.setAndLose(scopes, answer, how, all...)
				}
				for _, c := range all {
					if c.is == bad {
						s.shows(scopes, c.name, xds.Rejected)
						continue
					}
					s.served(scopes, c.name, is)
					s.shows(scopes, c.name, xds.Acknowledged)
				}
				s.set(content{scopes, names[culprit], is})
				s.served(scopes, names[culprit], is)
				s.shows(scopes, names[culprit], xds.Acknowledged)
			}
		}
		if got := s.rejections(); got != "" {
			t.Errorf("rejected are %q, want none", got)
		}
	})
}

// setAndLose makes a change, and ends the stream when Envoy gives an answer of the type,
// which is lost. Answers are counted from 1.
func (s *site) setAndLose(typ *resourceType, answer int, how reconnection, all ...content) {
	s.t.Helper()
	stream := s.proxy.Streams() - 1
	given := make(map[*discoveryv3.DeltaDiscoveryRequest]bool)
	s.proxy.HoldRequests(func(r *discoveryv3.DeltaDiscoveryRequest) bool {
		if r.GetTypeUrl() == typ.url && r.GetResponseNonce() != "" {
			given[r] = true
		}
		return len(given) >= answer
	})
	s.set(all...)
	s.proxy.Await(stream, fmt.Sprintf("answer %d", answer), func(*xdstest.Exchange) bool { return len(given) >= answer })
	s.proxy.HoldRequests(nil)
	s.reconnect(how)
}
