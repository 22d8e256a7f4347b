package xds

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// modelEnvoy does what a real Envoy does, as far as order, rejections and reconnections go. See
// TestRejected for how that was found.
//
// It warms a cluster when its endpoints are answered, holds the ACK of clusters back until all are
// warm, and does not ask for clusters on a new stream before. It rejects content that begins with
// "poison", and listeners whose port is taken. It may take over parts of a response that it rejects,
// and does not say which. It acknowledges unread what equals what it read last.
type modelEnvoy struct {
	t       testing.TB
	rng     *rand.Rand
	now     *time.Time
	node    *envoyNode
	session *session

	// initial are the versions that it tells of, content is what it serves, and lastRead the
	// bytes that it read last.
	initial, content, lastRead [numTypes]map[string]string
	// warming clusters wait for an answer about their endpoints; the others may be
	// named. A cluster that was warm serves on while it warms anew.
	warming, warm map[string]bool
	// endpoints and secrets are the names that it asks for.
	endpoints, secrets map[string]bool
	// portTaken are the listeners whose port is taken on its machine.
	portTaken map[string]bool
	// running is set once its first clusters were warm, and answered once it was told which
	// clusters there are. Ever are the types that it asked for since it started, and asked those
	// on this stream.
	running     bool
	answered    bool
	ever, asked [numTypes]bool
	// inbox are responses that it has not read, and outbox requests that have not arrived.
	inbox  []*response
	outbox []modelRequest
	// ack is that of clusters, while some are warming.
	ack *modelRequest
	// lastGood are scopes and listeners of which it was sent the last good version. That may name
	// what was removed since.
	lastGood map[string]bool
	// quiet keeps clients from asking for further secrets.
	quiet bool
	// history has what happened last.
	history []string
}

// note adds to the history, which is shown when the test fails.
func (e *modelEnvoy) note(format string, args ...any) {
	if len(e.history) == 400 {
		e.history = append(e.history[:0], e.history[200:]...)
	}
	e.history = append(e.history, fmt.Sprintf(format, args...))
}

// fail ends the test, and shows what happened.
func (e *modelEnvoy) fail(format string, args ...any) {
	e.t.Helper()
	e.t.Logf("%s until then:\n%s", e.node.id, strings.Join(e.history, "\n"))
	e.t.Fatalf(e.node.id+": "+format, args...)
}

type modelRequest struct {
	t   Type
	req *discoveryv3.DeltaDiscoveryRequest
}

func newModelEnvoy(t testing.TB, rng *rand.Rand, now *time.Time, node, version string) *modelEnvoy {
	e := &modelEnvoy{node: &envoyNode{id: node, version: version}, t: t, rng: rng, now: now, portTaken: make(map[string]bool), lastGood: make(map[string]bool)}
	if rng.IntN(2) == 0 {
		e.node.extensions = []string{selector}
	}
	return e
}

// start is a new process: nothing is left of the one before.
func (e *modelEnvoy) start(store *Store) {
	for typ := range e.initial {
		e.initial[typ], e.content[typ], e.lastRead[typ] = make(map[string]string), make(map[string]string), make(map[string]string)
	}
	e.warming, e.warm = make(map[string]bool), make(map[string]bool)
	e.endpoints, e.secrets = make(map[string]bool), make(map[string]bool)
	e.running, e.answered, e.ever = false, false, [numTypes]bool{}
	e.connect(store)
}

// connect opens a new stream and tells what it has, as after a lost one.
func (e *modelEnvoy) connect(store *Store) {
	if e.session != nil {
		e.session.close()
	}
	e.note("connects at revision %d; warming %v", store.revision, e.warming)
	e.session = newSession(store, e.node)
	e.inbox, e.outbox, e.ack, e.asked = nil, nil, nil, [numTypes]bool{}
	e.ever[Cluster] = true
	order := Types()
	if e.rng.IntN(4) == 0 {
		e.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, t := range order {
		if e.ever[t] && (t != Cluster || !e.holdsClusterRequests()) {
			e.ask(t)
		}
	}
}

// holdsClusterRequests reports whether it keeps its requests for clusters back.
func (e *modelEnvoy) holdsClusterRequests() bool { return e.running && len(e.warming) > 0 }

// ask sends the first request of a type on a stream.
func (e *modelEnvoy) ask(t Type) {
	e.ever[t], e.asked[t] = true, true
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.URL(), InitialResourceVersions: make(map[string]string)}
	switch t {
	case Endpoint:
		req.ResourceNamesSubscribe = slices.Sorted(maps.Keys(e.endpoints))
	case Secret:
		req.ResourceNamesSubscribe = slices.Sorted(maps.Keys(e.secrets))
	case ExtensionConfig:
		req.ResourceNamesSubscribe = []string{"hosts"}
	}
	for _, name := range slices.Sorted(maps.Keys(e.initial[t])) {
		version := e.initial[t][name]
		if e.rng.IntN(20) == 0 {
			version = "of another control plane"
		}
		req.InitialResourceVersions[name] = version
	}
	e.outbox = append(e.outbox, modelRequest{t, req})
}

// step lets something happen on this Envoy's side: a request arrives, responses are made, or one is
// read.
func (e *modelEnvoy) step() (idle bool) {
	switch {
	case len(e.outbox) > 0 && e.rng.IntN(2) == 0:
		r := e.outbox[0]
		e.outbox = e.outbox[1:]
		e.note("says %s %v", r.t, r.req)
		e.session.handleRequest(r.t, encoded(e.t, r.req), *e.now)
	case len(e.inbox) > 0 && e.rng.IntN(2) == 0:
		r := e.inbox[0]
		e.inbox = e.inbox[1:]
		e.receive(r)
	case e.running && !e.quiet && e.rng.IntN(50) == 0:
		e.changeSecrets()
	default:
		e.session.handleKept(*e.now)
		responses, _ := e.session.plan(*e.now)
		for _, r := range responses {
			msg := decode(e.t, r)
			for _, res := range msg.GetResources() {
				e.lastGood[res.GetName()] = false
			}
			if older := e.session.types[r.typ].inFlight.lastGood; older != nil {
				for _, name := range e.session.store.tables[r.typ].names(older) {
					e.lastGood[name] = true
				}
			}
			e.note("is sent %s %s, revision %d: %s, removed %q", r.typ, r.nonce, e.session.types[r.typ].sent, e.describe(r.typ, msg), msg.GetRemovedResources())
		}
		e.inbox = append(e.inbox, responses...)
		return len(responses) == 0 && len(e.inbox) == 0 && len(e.outbox) == 0
	}
	return false
}

// changeSecrets subscribes to a further secret, by its own name or another, or unsubscribes from one.
func (e *modelEnvoy) changeSecrets() {
	name := fmt.Sprint("x", e.rng.IntN(modelNames))
	if e.rng.IntN(2) == 0 {
		name += ".test"
	}
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: Secret.URL()}
	if e.secrets[name] {
		if e.rng.IntN(4) > 0 {
			return
		}
		delete(e.secrets, name)
		e.drop(Secret, name)
		req.ResourceNamesUnsubscribe = []string{name}
	} else {
		e.secrets[name] = true
		req.ResourceNamesSubscribe = []string{name}
	}
	if !e.asked[Secret] {
		e.ask(Secret)
		return
	}
	e.outbox = append(e.outbox, modelRequest{Secret, req})
}

// unsubscribed reports whether it does not subscribe to a name, or not any more: it skips that.
func (e *modelEnvoy) unsubscribed(t Type, name string) bool {
	return t == Endpoint && !e.endpoints[name] || t == Secret && !e.secrets[name]
}

func (e *modelEnvoy) describe(t Type, msg *discoveryv3.DeltaDiscoveryResponse) (all []string) {
	for _, r := range msg.GetResources() {
		all = append(all, r.GetName()+"="+contentOf(e.t, t, r))
	}
	return all
}
