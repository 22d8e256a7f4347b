package xds

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"relay/certs/certstest"
	"relay/internal/guard"
	"relay/internal/logtest"
	"relay/xds/xdstest"
)

// secured is a server whose clients need a certificate of its authority, those
// of the fleet "edge" for good.test and those of "core" for core.test, and an
// Envoy that means well.
type secured struct {
	*fixture
	ca   *certstest.CA
	log  *logtest.Buffer
	good *follower
	// beside is for comparison: nobody means harm to its server.
	beside *follower
}

func secure(t *testing.T, change func(*Limits), more ...func(*Server)) *secured {
	t.Helper()
	s := &secured{ca: certstest.TestCA(t), log: &logtest.Buffer{}}
	config, err := s.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	config.ClientCAs.AppendCertsFromPEM(s.ca.RootPEM())
	config.NextProtos = []string{"h2"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "bad.test" {
			panic("no such name")
		}
		return nil, nil
	}
	s.fixture = startServer(t, slog.NewTextHandler(s.log, nil), func(server *Server) {
		server.TLS = config
		server.Authorize = func(p *peer.Peer, fleet string) error {
			name := p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].DNSNames[0]
			if want := map[string]string{"edge": "good.test", "core": "core.test"}[fleet]; name != want {
				return fmt.Errorf("not for a client named %q", name)
			}
			return nil
		}
		change(&server.Limits)
		for _, f := range more {
			f(server)
		}
	})
	s.store.Open()
	s.wellMeaning(xdstest.ConnectBy(t, credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test")), s.address, "edge", "good"))
	return s
}

// wellMeaning sets the Envoys that mean well.
func (s *secured) wellMeaning(good *xdstest.Client) {
	s.t.Helper()
	good.Subscribe(clusters)
	good.Ack(good.Expect(clusters, nil))
	s.good, s.beside = &follower{fixture: s.fixture, envoy: good}, s.besides()
}

// another connects one more Envoy that means well, and sees that it is served before a client that says nothing
// has to leave: so it did not wait for one.
func (s *secured) another(t *testing.T) {
	t.Helper()
	start := time.Now()
	c := xdstest.ConnectBy(t, credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test")), s.address, "edge", "another")
	c.Subscribe(listeners)
	c.Ack(c.Expect(listeners, nil))
	if took := time.Since(start); took > DefaultLimits().Handshake {
		t.Errorf("another Envoy was served after %s", took)
	}
}

// client is what a client with a certificate of the authority needs.
func (s *secured) client(t *testing.T, ca *certstest.CA, o certstest.Options, names ...string) *tls.Config {
	t.Helper()
	config := s.ca.ClientTLS()
	config.ServerName, config.NextProtos = "relay.test", []string{"h2"}
	if len(names) > 0 {
		issued := ca.TestIssue(t, names, o)
		pair, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// follower is an Envoy that means well, and the server that serves it.
type follower struct {
	*fixture
	envoy   *xdstest.Client
	changes int
}

// besides returns an Envoy of another server of this process. It has to do with the load of the machine alone.
func (s *secured) besides() *follower {
	s.t.Helper()
	f := &follower{fixture: startServer(s.t, slog.DiscardHandler, func(*Server) {})}
	f.store.Open()
	f.envoy = f.connect()
	f.envoy.Subscribe(clusters)
	f.envoy.Ack(f.envoy.Expect(clusters, nil))
	return f
}

// follow changes a cluster again and again until the end, and returns how long that took to reach the Envoy: the
// median, and at most.
func (f *follower) follow(ended <-chan struct{}) (median, most time.Duration) {
	f.t.Helper()
	var took []time.Duration
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for over := false; !over || len(took) < 5; <-pace.C {
		select {
		case <-ended:
			over = true
		default:
		}
		start := time.Now()
		f.changes++
		f.set(Cluster, fmt.Sprint(f.changes), "a")
		f.envoy.Ack(f.envoy.Expect(clusters, []string{"a"}))
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1]
}

// while has the Envoy that means well follow changes as long as others do something, and sees that it gets them in
// normal time.
func (s *secured) while(others func()) {
	s.t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		others()
	}()
	var median, most time.Duration // where others do nothing, on the same machine
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { median, most = s.beside.follow(ended) })
	took, longest := s.good.follow(ended)
	beside.Wait()
	// A millisecond on an idle machine. What a busy one takes longer, it does for both.
	if took > max(200*time.Millisecond, 3*median) || longest > max(5*time.Second, 3*most) {
		s.t.Errorf("a change took %s, at most %s, to reach an Envoy that means well; where others did nothing %s, at most %s", took, longest, median, most)
	}
}

// count returns how often clients were refused so.
func (s *secured) count(kind guard.Kind) (n float64) {
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "relay_xds_refused_total" && m.GetLabel()[0].GetValue() == string(kind) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// counts waits until so many clients were refused: it is logged, and then counted,
// once they know.
func (s *secured) counts(kind guard.Kind, want float64) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); s.count(kind) < want; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%v refusals were counted as %s, want %v", s.count(kind), kind, want)
		}
	}
}
