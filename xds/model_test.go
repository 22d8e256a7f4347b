package xds

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var modelSeed = flag.Uint64("model-seed", 0, "seed of the make-before-break model; 0 for a new one")

var modelSteps = flag.Int("model-steps", 20_000, "steps of the make-before-break model")

// testResource makes a resource of any type. What it names goes into a field
// that is a plain string, so that the model Envoy can read it back.
func testResource(t testing.TB, typ Type, name, content string) Resource {
	t.Helper()
	var msg proto.Message
	switch typ {
	case Cluster:
		msg = &clusterv3.Cluster{Name: name, AltStatName: content}
	case Endpoint:
		msg = &endpointv3.ClusterLoadAssignment{ClusterName: name, NamedEndpoints: map[string]*endpointv3.Endpoint{content: {}}}
	case Secret:
		msg = &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inlineString(content)}}}
	case Listener:
		msg = &listenerv3.Listener{Name: name, StatPrefix: content}
	case Scope:
		msg = &routev3.ScopedRouteConfiguration{Name: name, RouteConfigurationName: content}
	case ExtensionConfig:
		msg = &corev3.TypedExtensionConfig{Name: content}
	}
	r, err := NewResource(typ, name, msg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// decode is what an Envoy reads of a response.
func decode(t testing.TB, r *response) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	buffers, err := codec{}.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var msg discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(buffers.Materialize(), &msg); err != nil {
		t.Fatal(err)
	}
	return &msg
}

// encoded is what the server reads of a request.
func encoded(t testing.TB, msg *discoveryv3.DeltaDiscoveryRequest) *request {
	t.Helper()
	body, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	req := new(request)
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(body)}, req); err != nil {
		t.Fatal(err)
	}
	if err := req.parse(); err != nil {
		t.Fatal(err)
	}
	return req
}

// modelEnvoy does what a real one does as far as the order of updates goes: it
// warms a cluster when its endpoints are there, holds the ACK of clusters back
// until all are warm, asks for the endpoints of new clusters, and refuses a
// response with a resource that says "poison", keeping what it had.
type modelEnvoy struct {
	t       testing.TB
	rng     *rand.Rand
	session *session
	kind    *kind
	now     *time.Time

	held    [numTypes]map[string]*discoveryv3.Resource
	content [numTypes]map[string]string
	// warming clusters wait for an answer about their endpoints; the others may
	// be named. A cluster that was warm serves on while it warms anew.
	warming, warm map[string]bool
	// inbox are responses that have not been looked at, outbox are requests
	// that have not arrived.
	inbox  []*response
	outbox []modelRequest
	asked  [numTypes]bool
	// cdsAck is the ACK that waits for warming clusters.
	cdsAck *modelRequest
}

type modelRequest struct {
	t   Type
	req *discoveryv3.DeltaDiscoveryRequest
}

func newModelEnvoy(t testing.TB, rng *rand.Rand, store *Store, now *time.Time, version string) *modelEnvoy {
	e := &modelEnvoy{kind: &kind{version: version}, t: t, rng: rng, now: now, warming: make(map[string]bool), warm: make(map[string]bool)}
	if rng.IntN(2) == 0 {
		e.kind.extensions = []string{selector}
	}
	for typ := range e.held {
		e.held[typ] = make(map[string]*discoveryv3.Resource)
		e.content[typ] = make(map[string]string)
	}
	e.connect(store)
	return e
}

// connect opens a new stream and says what is held, as after a lost one.
func (e *modelEnvoy) connect(store *Store) {
	if e.session != nil {
		e.session.close()
	}
	e.session = newSession(store, e.kind)
	e.inbox, e.outbox, e.cdsAck = nil, nil, nil
	clear(e.warming)
	for name := range e.held[Cluster] {
		if !e.warm[name] {
			e.warming[name] = true
		}
	}
	e.asked = [numTypes]bool{}
	for _, t := range []Type{Cluster, Endpoint, Listener, Scope, ExtensionConfig} {
		if t == Cluster || len(e.held[t]) > 0 || len(e.held[Listener]) > 0 || t == Endpoint && len(e.held[Cluster]) > 0 {
			e.ask(t)
		}
	}
}

// ask sends the first request of a type.
func (e *modelEnvoy) ask(t Type) {
	e.asked[t] = true
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.URL(), InitialResourceVersions: make(map[string]string)}
	for name, r := range e.held[t] {
		req.InitialResourceVersions[name] = r.GetVersion()
	}
	switch t {
	case Endpoint:
		for name := range e.held[Cluster] {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
		}
		slices.Sort(req.ResourceNamesSubscribe)
	case ExtensionConfig:
		req.ResourceNamesSubscribe = []string{"hosts"}
	}
	e.outbox = append(e.outbox, modelRequest{t, req})
}

// step lets something happen on this Envoy's side: a request arrives, responses
// are made, or one is looked at.
func (e *modelEnvoy) step() (idle bool) {
	switch {
	case len(e.outbox) > 0 && e.rng.IntN(2) == 0:
		r := e.outbox[0]
		e.outbox = e.outbox[1:]
		e.session.request(r.t, encoded(e.t, r.req), *e.now)
	case len(e.inbox) > 0 && e.rng.IntN(2) == 0:
		r := e.inbox[0]
		e.inbox = e.inbox[1:]
		e.receive(r)
	default:
		responses, _ := e.session.plan(*e.now)
		e.inbox = append(e.inbox, responses...)
		return len(responses) == 0 && len(e.inbox) == 0 && len(e.outbox) == 0
	}
	return false
}

func (e *modelEnvoy) receive(r *response) {
	msg := decode(e.t, r)
	t := r.typ
	ack := modelRequest{t, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.URL(), ResponseNonce: msg.GetNonce()}}
	for _, res := range msg.GetResources() {
		if content := contentOf(e.t, t, res); strings.HasPrefix(content, "poison") {
			ack.req.ErrorDetail = &statuspb.Status{Message: res.GetName() + " is poison"}
			e.outbox = append(e.outbox, ack)
			if t == Endpoint {
				// As Envoy does: refused endpoints end the wait of all clusters.
				for name := range e.warming {
					e.warmed(name)
				}
				e.sendClusterAck()
			}
			return
		}
	}
	for _, name := range msg.GetRemovedResources() {
		e.remove(t, name)
	}
	for _, res := range msg.GetResources() {
		if t == Endpoint && e.held[Cluster][res.GetName()] == nil {
			continue // unsubscribed meanwhile
		}
		e.add(t, res)
	}
	if t == Cluster {
		e.cdsAck = &ack
		e.askEndpoints(msg)
		e.sendClusterAck()
		return
	}
	e.outbox = append(e.outbox, ack)
	if t == Endpoint {
		for _, res := range msg.GetResources() {
			e.warmed(res.GetName())
		}
		for _, name := range msg.GetRemovedResources() {
			e.warmed(name)
		}
		e.sendClusterAck()
	}
	if t == Listener && !e.asked[Scope] {
		e.ask(ExtensionConfig)
		e.ask(Scope)
	}
}

func (e *modelEnvoy) warmed(cluster string) {
	delete(e.warming, cluster)
	if e.held[Cluster][cluster] != nil {
		e.warm[cluster] = true
	}
}

// sendClusterAck sends the ACK of clusters once none is warming.
func (e *modelEnvoy) sendClusterAck() {
	if e.cdsAck == nil || len(e.warming) > 0 {
		return
	}
	e.outbox = append(e.outbox, *e.cdsAck)
	e.cdsAck = nil
	if !e.asked[Listener] {
		e.ask(Listener)
	}
}

func (e *modelEnvoy) askEndpoints(msg *discoveryv3.DeltaDiscoveryResponse) {
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: Endpoint.URL(), ResourceNamesUnsubscribe: msg.GetRemovedResources()}
	for _, res := range msg.GetResources() {
		if _, ok := e.held[Endpoint][res.GetName()]; !ok {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, res.GetName())
		}
	}
	for _, name := range msg.GetRemovedResources() {
		delete(e.held[Endpoint], name)
		delete(e.content[Endpoint], name)
	}
	if len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) == 0 {
		return
	}
	e.asked[Endpoint] = true
	e.outbox = append(e.outbox, modelRequest{Endpoint, req})
}

func contentOf(t testing.TB, typ Type, r *discoveryv3.Resource) string {
	msg, err := r.GetResource().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	switch m := msg.(type) {
	case *clusterv3.Cluster:
		return m.GetAltStatName()
	case *endpointv3.ClusterLoadAssignment:
		for content := range m.GetNamedEndpoints() {
			return content
		}
	case *listenerv3.Listener:
		return m.GetStatPrefix()
	case *routev3.ScopedRouteConfiguration:
		return m.GetRouteConfigurationName()
	case *corev3.TypedExtensionConfig:
		return m.GetName()
	}
	t.Fatalf("unexpected %s %T", typ, msg)
	return ""
}

// add fails the test when a scope or listener names a cluster that is not there and warm.
func (e *modelEnvoy) add(t Type, r *discoveryv3.Resource) {
	content := contentOf(e.t, t, r)
	switch t {
	case Cluster:
		e.warming[r.GetName()] = true
	case Scope, Listener:
		if content == noCluster || r.GetName() == leading {
			break
		}
		if e.held[Cluster][content] == nil {
			e.t.Fatalf("%s %s names cluster %s, which Envoy does not have", t, r.GetName(), content)
		}
		if !e.warm[content] {
			e.t.Fatalf("%s %s names cluster %s, which is not warm", t, r.GetName(), content)
		}
	}
	e.held[t][r.GetName()] = r
	e.content[t][r.GetName()] = content
}

// remove fails the test when a cluster goes that a scope or listener still names, or a scope
// that another still leads to.
func (e *modelEnvoy) remove(t Type, name string) {
	switch t {
	case Cluster:
		for _, naming := range []Type{Scope, Listener} {
			for by, cluster := range e.content[naming] {
				if cluster == name {
					e.t.Fatalf("cluster %s is removed while %s %s names it", name, naming, by)
				}
			}
		}
		delete(e.warming, name)
		delete(e.warm, name)
	case Scope:
		if e.content[Scope][leading] == name {
			e.t.Fatalf("scope %s is removed while another leads to it", name)
		}
	}
	delete(e.held[t], name)
	delete(e.content[t], name)
}

// modelWorld changes a store at random, always from one consistent state to
// another.
type modelWorld struct {
	t        testing.TB
	rng      *rand.Rand
	store    *Store
	clusters map[string]bool
	scopes   map[string]string // scope -> cluster
	// services are listeners that name a cluster.
	services map[string]string
	led      string // the scope that the leading one leads to
	serial   int
}

// leading is the scope that names a scope, and no cluster.
const leading = "*.*"

// noCluster is what the listener says that leads to scopes.
const noCluster = "none"

const modelNames = 8

func (w *modelWorld) name(kind string) string { return fmt.Sprint(kind, w.rng.IntN(modelNames)) }

func (w *modelWorld) content() string {
	w.serial++
	if w.rng.IntN(20) == 0 {
		return fmt.Sprint("poison", w.serial)
	}
	return fmt.Sprint(w.serial)
}

func (w *modelWorld) change() {
	var c Change
	for range 1 + w.rng.IntN(3) {
		w.changeOne(&c)
	}
	// Later steps of one change win, as in the collator, which makes a change
	// from what is so in the end.
	set := make(map[Key]Resource)
	for _, r := range c.Set {
		set[r.Key] = r
	}
	out := Change{}
	for _, k := range c.Remove {
		var exists bool
		switch k.Type {
		case Scope:
			exists = w.scopes[k.Name] != ""
		case Listener:
			exists = w.services[k.Name] != ""
		default:
			exists = w.clusters[k.Name]
		}
		if !exists {
			delete(set, k)
			out.Remove = append(out.Remove, k)
		}
	}
	for _, r := range set {
		out.Set = append(out.Set, r)
	}
	w.store.Apply(out)
}

func (w *modelWorld) changeOne(c *Change) {
	switch w.rng.IntN(8) {
	case 0, 1: // a cluster comes or changes
		name := w.name("c")
		w.clusters[name] = true
		// A cluster that Envoy refuses would make every scope that names it break
		// the rule under test; poison is tried on endpoints only.
		w.serial++
		c.Set = append(c.Set, testResource(w.t, Cluster, name, fmt.Sprint(w.serial)), testResource(w.t, Endpoint, name, w.content()))
	case 2: // a cluster goes, with or without its scopes
		name := w.name("c")
		w.dropCluster(c, name)
	case 3, 4: // a scope comes or moves
		if cluster := w.anyCluster(); cluster != "" {
			scope := w.name("s")
			w.scopes[scope] = cluster
			c.Set = append(c.Set, testResource(w.t, Scope, scope, cluster))
			if w.led == "" || w.rng.IntN(8) == 0 {
				w.led = scope
				c.Set = append(c.Set, testResource(w.t, Scope, leading, scope))
			}
		}
	case 5: // a scope goes
		w.dropScope(c, w.name("s"))
	case 6: // a listener comes or moves
		if cluster := w.anyCluster(); cluster != "" {
			name := w.name("l")
			w.services[name] = cluster
			r := testResource(w.t, Listener, name, cluster)
			if w.rng.IntN(2) == 0 {
				r = r.Or(selector, w.secondForm(name, cluster))
			}
			c.Set = append(c.Set, r)
		}
	case 7: // a listener goes
		w.dropService(c, w.name("l"))
	}
}

// secondForm makes a listener that differs from the first form, and from
// others like it, but for the cluster that it names.
func (w *modelWorld) secondForm(name, cluster string) Resource {
	r, err := NewResource(Listener, name, &listenerv3.Listener{
		Name: name, StatPrefix: cluster, TcpBacklogSize: wrapperspb.UInt32(uint32(w.rng.IntN(3))),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *modelWorld) dropService(c *Change, name string) {
	delete(w.services, name)
	c.Remove = append(c.Remove, Key{Listener, name})
}

func (w *modelWorld) dropCluster(c *Change, name string) {
	for scope, cluster := range w.scopes {
		if cluster == name {
			if other := w.anyCluster(); other != name && other != "" {
				w.scopes[scope] = other
				c.Set = append(c.Set, testResource(w.t, Scope, scope, other))
			} else {
				w.dropScope(c, scope)
			}
		}
	}
	for service, cluster := range w.services {
		if cluster == name {
			w.dropService(c, service)
		}
	}
	for _, cluster := range w.scopes {
		if cluster == name {
			return // the last scope, which the leading one leads to, keeps it
		}
	}
	delete(w.clusters, name)
	c.Remove = append(c.Remove, Key{Cluster, name}, Key{Endpoint, name})
}

func (w *modelWorld) dropScope(c *Change, name string) {
	if w.led == name {
		others := make([]string, 0, len(w.scopes))
		for scope := range w.scopes {
			if scope != name {
				others = append(others, scope)
			}
		}
		if len(others) == 0 {
			return
		}
		slices.Sort(others)
		w.led = others[0]
		c.Set = append(c.Set, testResource(w.t, Scope, leading, w.led))
	}
	delete(w.scopes, name)
	c.Remove = append(c.Remove, Key{Scope, name})
}

func (w *modelWorld) anyCluster() string {
	names := make([]string, 0, len(w.clusters))
	for name := range w.clusters {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[w.rng.IntN(len(names))]
}

// TestMakeBeforeBreakModel lets several Envoys follow random changes, with
// requests and responses on their way for random times, rejections, and streams
// that break. No scope or listener may ever name a cluster that its Envoy does not hold warm,
// and once all is quiet every Envoy holds what the store holds.
func TestMakeBeforeBreakModel(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	now := time.Unix(0, 0)
	w := &modelWorld{t: t, rng: rng, store: NewStore(), clusters: make(map[string]bool), scopes: make(map[string]string), services: make(map[string]string)}
	w.store.Open()
	w.store.Apply(Change{Set: []Resource{testResource(t, Listener, "http", noCluster), testResource(t, ExtensionConfig, "hosts", "hosts")}})
	envoys := make([]*modelEnvoy, 3)
	for i := range envoys {
		envoys[i] = newModelEnvoy(t, rng, w.store, &now, []string{"1", "1", "2"}[i])
	}
	for step := range *modelSteps {
		switch n := rng.IntN(100); {
		case n < 10:
			w.change()
		case n == 10:
			envoys[rng.IntN(len(envoys))].connect(w.store)
		default:
			envoys[rng.IntN(len(envoys))].step()
		}
		if step%500 == 499 {
			settleModel(t, w, envoys)
		}
	}
}

func settleModel(t *testing.T, w *modelWorld, envoys []*modelEnvoy) {
	t.Helper()
	for i, e := range envoys {
		idle := 0
		for n := 0; idle < 50; n++ {
			if n > 100_000 {
				t.Fatalf("Envoy %d does not come to rest: %+v", i, e.session.status())
			}
			if e.step() {
				idle++
			} else {
				idle = 0
			}
		}
		e.compare(w.store)
	}
}

// compare fails the test unless Envoy holds what the store holds, poison aside:
// of that it keeps an older version or none.
func (e *modelEnvoy) compare(store *Store) {
	for t := range store.tables {
		for id, entry := range store.tables[t].entries {
			version := store.tables[t].version(uint32(id), e.kind)
			if entry.presence != present || Type(t) == Secret {
				continue
			}
			held := e.held[t][entry.name]
			if held.GetVersion() == version.String() {
				continue
			}
			if !e.quarantined(Type(t), entry.name) {
				e.t.Fatalf("at rest Envoy has version %q of %s %s, the store has %q; %+v, warming %v", held.GetVersion(), Type(t), entry.name, version, e.session.status(), e.warming)
			}
		}
		for name := range e.held[t] {
			id, ok := store.tables[t].ids[name]
			if !ok || store.tables[t].entries[id].presence != present {
				e.t.Fatalf("at rest Envoy has %s %s, which the store does not have", Type(t), name)
			}
		}
	}
}

func (e *modelEnvoy) quarantined(t Type, name string) bool {
	table := &e.session.store.tables[t]
	_, lacks := e.session.watches[t].lacks[table.ids[name]]
	return lacks
}
