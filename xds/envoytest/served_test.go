package envoytest_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"relay/certs/certstest"
	"relay/xds"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

const (
	fleet = "external"
	edge  = "edge-1"
)

// site is an Envoy that is served by Relay's xDS server, from a store that a test
// fills. Its testEnvoy builds and looks at resources, and sends nothing.
type site struct {
	*testEnvoy
	proxy *xdstest.Proxy
	store *xds.Store
	// server and stop are those of the Relay that serves now.
	server *xds.Server
	stop   func()
	// all are the resources, in the order in which they were made.
	all []xds.Resource
}

// newSite starts a Relay whose store has what fill sets, and an Envoy.
func newSite(t *testing.T, version string, fill func(s *site)) *site {
	t.Helper()
	s := &site{
		testEnvoy: &testEnvoy{ads: &ads{t: t}, ca: certstest.TestCA(t), ports: make(map[string]uint16), pairs: make(map[string]*certstest.Issued)},
		store:     xds.NewStore(),
	}
	for _, name := range []string{"", "n", "o", marker} {
		s.ports[name] = envoytest.FreePort(t)
	}
	fill(s)
	s.proxy = xdstest.StartProxy(t, s.open())
	s.envoy = envoytest.Start(t, envoytest.Options{Version: version, XDS: []string{s.proxy.Address}, NodeID: edge})
	return s
}

// open serves the store, and returns where.
func (s *site) open() (address string) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.store.Open()
	s.server = xds.NewServer(map[string]*xds.Store{fleet: s.store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	server := s.server
	go func() {
		defer close(done)
		_ = server.Serve(ctx, l)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	s.t.Cleanup(s.stop)
	return l.Addr().String()
}

// reconnection is what ends a stream.
type reconnection string

const (
	cut     reconnection = "the stream ends"
	another reconnection = "another Relay, or one that was started again"
)

// reconnect ends the stream. Unless it is just cut, Envoy comes to a Relay that knows
// nothing of what was, and has the same resources, those that change sets aside.
func (s *site) reconnect(how reconnection, change ...content) {
	s.t.Helper()
	stream, ended := s.proxy.Streams(), time.Now()
	if how == cut {
		s.proxy.Cut()
	} else {
		stop := s.stop
		s.store = xds.NewStore()
		s.store.Apply(xds.Change{Set: s.all})
		s.set(change...)
		s.proxy.SwitchTo(s.open())
		stop()
	}
	s.proxy.Await(stream, "Envoy on a new stream", func(*xdstest.Exchange) bool { return true })
	s.until("Relay at the end of the old stream", func() error {
		if all := s.server.Streams(); len(all) != 1 || all[0].Since.Before(ended) {
			return fmt.Errorf("there are %+v", all)
		}
		return nil
	})
}

// content is a resource with one of the contents of a type.
type content struct {
	typ  *resourceType
	name string
	is   string
}

// set makes one change of the store.
func (s *site) set(all ...content) {
	s.t.Helper()
	var made []xds.Resource
	for _, c := range all {
		made = append(made, s.resource(c.typ.url, c.name, c.typ.build(s.testEnvoy, c.name, c.is)))
	}
	s.apply(made...)
}

// put sets resources that no type builds.
func (s *site) put(url string, all ...named) {
	s.t.Helper()
	var made []xds.Resource
	for _, n := range all {
		made = append(made, s.resource(url, n.name, n.message))
	}
	s.apply(made...)
}

func (s *site) resource(url, name string, message proto.Message) xds.Resource {
	s.t.Helper()
	t, _ := xds.TypeOf(url)
	r, err := xds.NewResource(t, name, message)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) apply(made ...xds.Resource) {
	for _, r := range made {
		i := slices.IndexFunc(s.all, func(other xds.Resource) bool { return other.Key == r.Key })
		if i < 0 {
			s.all = append(s.all, r)
		} else {
			s.all[i] = r
		}
	}
	s.store.Apply(xds.Change{Set: made})
}

// until waits until check is content.
func (s *site) until(what string, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(maxWait)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// shows waits until Relay shows of a resource, for its Envoy, how far it has come. Of
// what is rejected it has to show Envoy's words, in the list of all rejections too;
// and of nothing else.
func (s *site) shows(typ *resourceType, name string, want xds.Progress) {
	s.t.Helper()
	t, _ := xds.TypeOf(typ.url)
	s.until(fmt.Sprintf("%s %s shown as %q", typ.name, name, want), func() error {
		all := s.server.Progress(fleet, []xds.Key{{Type: t, Name: name}})
		if len(all) != 1 || all[0].Resources[0].Progress != want {
			return fmt.Errorf("shown are %+v", all)
		}
		listed := slices.ContainsFunc(s.store.Rejected(), func(r xds.RejectedResource) bool {
			return r.Type == t && r.Name == name && slices.Equal(r.Nodes, []string{edge}) && r.Message != "" && !r.Since.IsZero()
		})
		if lack := all[0].Resources[0].Stale; listed != (want == xds.Rejected) || listed && (lack.Message == "" || lack.Since.IsZero() || lack.By != xds.ThisEnvoy) {
			return fmt.Errorf("rejected are %+v; shown is %+v", s.store.Rejected(), lack)
		}
		return nil
	})
}

// rejections are the names that Relay shows as rejected, of any type.
func (s *site) rejections() string {
	var names []string
	for _, r := range s.store.Rejected() {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}
