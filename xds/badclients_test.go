package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/internal/guard"
	"relay/internal/logtest"
	"relay/xds/xdstest"
)

// attempt is one attempt of a client. It returns when the server has ended it.
type attempt func(s *secured) error

// badClient is a client that is refused.
type badClient struct {
	name string
	// make prepares the client.
	make func(*testing.T, *secured) attempt
	kind guard.Kind
	// says is what the log has about it.
	says string
}

// handshakes makes a client that makes the TLS handshake, and then sends something.
func handshakes(config func(t *testing.T, s *secured) *tls.Config, then ...byte) func(*testing.T, *secured) attempt {
	return func(t *testing.T, s *secured) attempt {
		c := config(t, s)
		return func(s *secured) error { return s.write(c, then) }
	}
}

// certificateFor has a client use a certificate for names, or none without names.
func certificateFor(names ...string) func(*testing.T, *secured) *tls.Config {
	return func(t *testing.T, s *secured) *tls.Config { return s.client(t, s.ca, certstest.Options{}, names...) }
}

// sendsPlain makes a client that sends bytes in plain text, with pauses between them.
func sendsPlain(first []byte, pause time.Duration) func(*testing.T, *secured) attempt {
	return func(*testing.T, *secured) attempt {
		return func(s *secured) error { return s.writePlain(first, pause) }
	}
}

// calls makes a client with a certificate for a name that asks for a fleet's clusters, or sends
// a body in place of that.
func calls(name, fleet string, want codes.Code, body []byte) func(*testing.T, *secured) attempt {
	return func(t *testing.T, s *secured) attempt {
		creds := credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, name))
		return func(s *secured) error { return s.call(creds, fleet, want, body) }
	}
}

// badTLSClients do not get through the TLS handshake.
func badTLSClients(t *testing.T) []badClient {
	stranger := certstest.TestCA(t)
	expired := certstest.Options{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	hello := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	return []badClient{
		{"wrong authority", handshakes(func(t *testing.T, s *secured) *tls.Config {
			return s.client(t, stranger, certstest.Options{}, "spy.test")
		}), guard.Authority, "none of the authorities in --xds-client-ca: give it another"},
		{"no certificate", handshakes(certificateFor()), guard.NoCertificate, "give it one of the authorities in --xds-client-ca"},
		{"expired certificate", handshakes(func(t *testing.T, s *secured) *tls.Config {
			return s.client(t, s.ca, expired, "late.test")
		}), guard.Expired, "renew it"},
		{"does not trust Relay", handshakes(func(t *testing.T, s *secured) *tls.Config {
			c := s.client(t, s.ca, certstest.Options{}, "good.test")
			c.RootCAs = stranger.ClientTLS().RootCAs
			return c
		}), guard.Distrusted, "does not trust the certificate in --xds-cert"},
		{"TLS 1.1", handshakes(func(t *testing.T, s *secured) *tls.Config {
			c := s.client(t, s.ca, certstest.Options{}, "good.test")
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			return c
		}), guard.Protocol, "takes versions 1.2 and 1.3"},
		{"plain text", sendsPlain([]byte(emptySettings), 0), guard.Plaintext, "relay bootstrap --xds-ca"},
		{"silence", sendsPlain(nil, 0), guard.Silent, "did not finish the TLS handshake"},
		{"TLS handshake in drips", sendsPlain(hello, silence/8), guard.Silent, "did not finish the TLS handshake"},
	}
}

// silence is how long a client may say nothing, where a test waits for the end of that. Those that mean well say
// something within it, though the machine stands still for a while.
const silence = 4 * time.Second

// emptySettings is what HTTP/2 begins with.
const emptySettings = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// badEnvoys have a certificate of the authority.
func badEnvoys() []badClient {
	huge := make([]byte, 100_000_000)
	return []badClient{
		{"HTTP/1", handshakes(certificateFor("good.test"), []byte("GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n")...), guard.Protocol, "this port takes gRPC"},
		{"HTTP/2 without SETTINGS", handshakes(certificateFor("good.test"), []byte(http2.ClientPreface+"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")...),
			guard.Protocol, "this port takes gRPC"},
		{"certificate for another fleet", calls("core.test", "edge", codes.PermissionDenied, nil), guard.Access, `not for a client named \"core.test\"" envoy=bad fleet=edge`},
		{"certificate for no fleet", calls("other.test", "", codes.PermissionDenied, huge), guard.Access, `not for a client named \"other.test`},
		{"no such fleet", calls("good.test", "nowhere", codes.InvalidArgument, nil), guard.Fleet, "node.cluster must be one of"},
		{"100 MB request", calls("good.test", "", codes.ResourceExhausted, huge), guard.Request, "larger than max"},
		{"garbage", calls("good.test", "", codes.InvalidArgument, []byte{0xff, 0xff, 0xff}), guard.Request, "malformed request"},
		{"another service", func(t *testing.T, s *secured) attempt {
			creds := credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test"))
			return func(s *secured) error { return s.callMethod(creds, "/a.Service/Do", codes.Unimplemented, []byte{}) }
		}, guard.Request, "aggregated discovery only"},
		{"silence after TLS", handshakes(certificateFor("good.test")), guard.Silent, "did not begin with HTTP/2 in time"},
		{"silence after HTTP/2 began", handshakes(certificateFor("good.test"), []byte(emptySettings)...), guard.Silent, "no request came within"},
		{"request in drips", func(t *testing.T, s *secured) attempt {
			c := s.client(t, s.ca, certstest.Options{}, "good.test")
			return func(s *secured) error { return s.drip(c) }
		}, guard.Silent, "no request came within"},
	}
}

// Each broken or malicious client is refused, is logged once however often it comes again, and
// costs the others nothing.
func TestBadClients(t *testing.T) {
	t.Parallel()
	for _, tt := range append(badTLSClients(t), badEnvoys()...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const clients = 3
			tries := 3
			s := secure(t, func(l *Limits) {
				if tt.kind == guard.Silent {
					l.Handshake, l.FirstRequest = silence, silence
					tries = 1 // each takes that long
				}
			})
			try := tt.make(t, s)
			errs := make(chan error, clients*tries)
			s.while(func() {
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for range tries {
							errs <- try(s)
						}
					})
				}
				wg.Wait()
			})
			for range clients * tries {
				if err := <-errs; err != nil {
					t.Errorf("a client was not refused: %v", err)
				}
			}
			s.counts(tt.kind, float64(clients*tries))
			refused := s.log.Lines("client refused")
			if len(refused) != 1 || !strings.Contains(refused[0], tt.says) || !strings.Contains(refused[0], "address=127.0.0.1 ") {
				t.Errorf("the log says %q; want one line with the address and %q", refused, tt.says)
			}
			if connected := s.log.Lines("Envoy connected"); len(connected) != 1 {
				t.Errorf("%q connected, want one", connected)
			}
		})
	}
}

// The log says what to do if a client speaks TLS to a port in plain text, and if an Envoy has
// names of unbounded length.
func TestBadClientsOfPlainText(t *testing.T) {
	t.Parallel()
	s := &secured{ca: certstest.TestCA(t), log: &logtest.Buffer{}}
	s.fixture = startServer(t, slog.NewTextHandler(s.log, nil), func(*Server) {})
	for range 3 {
		if err := s.write(s.client(t, s.ca, certstest.Options{}, "good.test"), nil); err != nil {
			t.Error(err)
		}
		c := xdstest.Connect(t, s.address, "edge", strings.Repeat("x", maxNode+1))
		c.Subscribe(clusters)
		if err := c.End(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a long name: %v, want InvalidArgument", err)
		}
	}
	if refused := s.log.Lines("client refused"); len(refused) != 2 || !strings.Contains(refused[0], "give Relay --xds-cert") || len(refused[1]) > 500 {
		t.Errorf("the log says %q, want a line about TLS and a short one about the name", refused)
	}
}

// An Envoy that is let in, and then asks for too much again and again, is logged once, beside the
// line that it connected.
func TestHugeRequestOfEnvoy(t *testing.T) {
	t.Parallel()
	s := secure(t, func(*Limits) {})
	creds := credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test"))
	huge := strings.Repeat("x", 70<<20)
	s.while(func() {
		for i := range 3 {
			c := xdstest.ConnectBy(t, creds, s.address, "edge", "greedy")
			c.Subscribe(listeners)
			c.Ack(c.Expect(listeners, nil))
			c.Subscribe(listeners, huge)
			if err := c.End(); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("a huge request: %v, want ResourceExhausted", err)
			}
			s.counts(guard.Request, float64(i+1))
		}
	})
	refused, connected := s.log.Lines("client refused"), s.log.Lines(`msg="Envoy connected" envoy=greedy`)
	if len(refused) != 1 || !strings.Contains(refused[0], "larger than max") || !strings.Contains(refused[0], "envoy=greedy") || len(connected) != 1 {
		t.Errorf("the log says %q, and %q", refused, connected)
	}
}

// Requests for a type that does not exist, or that only look like answers, are handled no faster
// than others, and logged once.
func TestFloodOfRequests(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.RequestsPerSecond, l.Burst = 50, 10 })
	creds := credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test"))
	for name, req := range map[string]*discoveryv3.DeltaDiscoveryRequest{
		"unknown type":  {TypeUrl: "type.googleapis.com/no.such.Type"},
		"unknown nonce": {TypeUrl: secrets, ResponseNonce: "none of yours"},
	} {
		c := xdstest.ConnectBy(t, creds, s.address, "edge", name)
		s.while(func() {
			c.Subscribe(secrets, "a")
			c.Ack(c.Expect(secrets, nil, "a"))
			start := time.Now()
			for range 40 {
				c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: req.TypeUrl, ResponseNonce: req.ResponseNonce, ResourceNamesSubscribe: []string{"b"}})
			}
			c.Subscribe(listeners)
			for c.Next().GetTypeUrl() != listeners {
			}
			if took := time.Since(start); took < 400*time.Millisecond {
				t.Errorf("%s: 40 requests at 50 a second, 10 ahead, took %s", name, took)
			}
			c.Close()
		})
	}
	if refused := s.log.Lines("client refused"); len(refused) != 1 || !strings.Contains(refused[0], "does not serve") {
		t.Errorf("the log says %q, want a line about the type", refused)
	}
}

// write makes a TLS handshake, sends something, and waits for the end.
func (s *secured) write(config *tls.Config, data []byte) error {
	conn, err := tls.Dial("tcp", s.address, config)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write(data)
	return drain(conn)
}

func (s *secured) writePlain(data []byte, pause time.Duration) error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if pause == 0 {
		_, _ = conn.Write(data)
		return drain(conn)
	}
	ended := make(chan error, 1)
	go func() { ended <- drain(conn) }()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for _, b := range data {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			_, _ = conn.Write([]byte{b})
		}
	}
	return <-ended
}

// drain reads until the server ends the connection.
func drain(conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection stays open")
	}
	return nil
}

// drip sends the beginning of a request, byte by byte.
func (s *secured) drip(config *tls.Config) error {
	conn, err := tls.Dial("tcp", s.address, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	h := newRawHTTP2(conn)
	h.open(1)
	ended := make(chan error, 1)
	go func() { ended <- drain(conn) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for part := []byte{0, 0, 1, 0, 0}; ; part = []byte{0} {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			_ = h.WriteData(1, false, part)
			_ = h.flush()
		}
	}
}

// call asks for clusters, or sends bytes in place of that, and compares how
// that ends.
func (s *secured) call(creds credentials.TransportCredentials, fleet string, want codes.Code, body []byte) error {
	if body != nil {
		return s.callMethod(creds, discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, want, body)
	}
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "bad", Cluster: fleet}, TypeUrl: clusters})
	_, err = stream.Recv()
	return expectCode(err, want)
}

func (s *secured) callMethod(creds credentials.TransportCredentials, method string, want codes.Code, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return expectCode(xdstest.CallRaw(ctx, creds, s.address, method, body), want)
}

func expectCode(err error, want codes.Code) error {
	if status.Code(err) != want {
		return fmt.Errorf("%v, want %s", err, want)
	}
	return nil
}
