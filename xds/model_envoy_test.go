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
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// modelEnvoy does what a real one does (see TestRefused for how that was found),
// as far as order, rejections and reconnections go.
//
// It warms a cluster when its endpoints are answered, holds the ACK of clusters back
// until all are warm, and does not ask for clusters on a new stream before. It rejects
// what says "poison", and listeners whose port its machine does not have. Of what it
// rejects it may take over a part, and it tells of none. It acknowledges unread what it
// thinks to know.
type modelEnvoy struct {
	t       testing.TB
	rng     *rand.Rand
	now     *time.Time
	kind    *envoyNode
	session *session

	// told are the versions that it tells of, content is what it serves, and last the
	// bytes of what it looked at last.
	told, content, last [numTypes]map[string]string
	// warming clusters wait for an answer about their endpoints; the others may be
	// named. A cluster that was warm serves on while it warms anew.
	warming, warm map[string]bool
	// endpoints and secrets are the names that it asks for.
	endpoints, secrets map[string]bool
	// busy are the listeners whose port is taken on its machine.
	busy map[string]bool
	// running is set once its first clusters were warm; ever are the types that it asked
	// for since it started, and asked those on this stream.
	// answered once it was told which clusters there are.
	running     bool
	answered    bool
	ever, asked [numTypes]bool
	// inbox are responses that have not been looked at, outbox are requests
	// that have not arrived.
	inbox  []*response
	outbox []modelRequest
	// ack is that of clusters, while some are warming.
	ack *modelRequest
	// older are scopes and listeners of which it was sent the last good version, which
	// may name what is gone since.
	older map[string]bool
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

// fail ends the test, and tells the seed's story.
func (e *modelEnvoy) fail(format string, args ...any) {
	e.t.Helper()
	e.t.Logf("%s until then:\n%s", e.kind.id, strings.Join(e.history, "\n"))
	e.t.Fatalf(e.kind.id+": "+format, args...)
}

type modelRequest struct {
	t   Type
	req *discoveryv3.DeltaDiscoveryRequest
}

func newModelEnvoy(t testing.TB, rng *rand.Rand, now *time.Time, node, version string) *modelEnvoy {
	e := &modelEnvoy{kind: &envoyNode{id: node, version: version}, t: t, rng: rng, now: now, busy: make(map[string]bool), older: make(map[string]bool)}
	if rng.IntN(2) == 0 {
		e.kind.extensions = []string{selector}
	}
	return e
}

// start is a new process: nothing is left of the one before.
func (e *modelEnvoy) start(store *Store) {
	for typ := range e.told {
		e.told[typ], e.content[typ], e.last[typ] = make(map[string]string), make(map[string]string), make(map[string]string)
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
	e.session = newSession(store, e.kind)
	e.inbox, e.outbox, e.ack, e.asked = nil, nil, nil, [numTypes]bool{}
	e.ever[Cluster] = true
	order := Types()
	if e.rng.IntN(4) == 0 {
		e.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, t := range order {
		if e.ever[t] && (t != Cluster || !e.paused()) {
			e.ask(t)
		}
	}
}

// paused reports whether it keeps its requests for clusters back.
func (e *modelEnvoy) paused() bool { return e.running && len(e.warming) > 0 }

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
	for _, name := range slices.Sorted(maps.Keys(e.told[t])) {
		version := e.told[t][name]
		if e.rng.IntN(20) == 0 {
			version = "of another control plane"
		}
		req.InitialResourceVersions[name] = version
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
				e.older[res.GetName()] = false
			}
			if older := e.session.types[r.typ].inFlight.lastGood; older != nil {
				for _, name := range e.session.store.tables[r.typ].names(older) {
					e.older[name] = true
				}
			}
			e.note("is sent %s %s, revision %d: %s, removed %q", r.typ, r.nonce, e.session.types[r.typ].sent, e.describe(r.typ, msg), msg.GetRemovedResources())
		}
		e.inbox = append(e.inbox, responses...)
		return len(responses) == 0 && len(e.inbox) == 0 && len(e.outbox) == 0
	}
	return false
}

// changeSecrets asks for a further secret, by its own name or another, or gives one up.
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

// gaveUp reports whether it does not ask for a name, any more: it passes it over.
func (e *modelEnvoy) gaveUp(t Type, name string) bool {
	return t == Endpoint && !e.endpoints[name] || t == Secret && !e.secrets[name]
}

func (e *modelEnvoy) describe(t Type, msg *discoveryv3.DeltaDiscoveryResponse) (all []string) {
	for _, r := range msg.GetResources() {
		all = append(all, r.GetName()+"="+contentOf(e.t, t, r))
	}
	return all
}

func (e *modelEnvoy) receive(r *response) {
	msg, t := decode(e.t, r), r.typ
	ack := modelRequest{t, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.URL(), ResponseNonce: msg.GetNonce()}}
	culprit := e.process(t, msg)
	e.note("reads %s %s, rejects %q", t, r.nonce, culprit)
	if culprit != "" {
		ack.req.ErrorDetail = &statuspb.Status{Message: culprit + " is rejected"}
		if t == Endpoint {
			// As Envoy does: rejected endpoints end the wait of all clusters.
			for name := range e.warming {
				e.warmed(name)
			}
		}
	} else {
		for _, res := range msg.GetResources() {
			if !e.gaveUp(t, res.GetName()) {
				e.told[t][res.GetName()] = res.GetVersion()
			}
		}
		for _, name := range msg.GetRemovedResources() {
			delete(e.told[t], name)
		}
	}
	switch t {
	case Cluster:
		e.askEndpoints(msg)
		e.ack, e.answered = &ack, true
		e.clustersWarm()
		return
	case Endpoint:
		for _, res := range msg.GetResources() {
			e.warmed(res.GetName())
		}
		for _, name := range msg.GetRemovedResources() {
			e.warmed(name)
		}
		defer e.clustersWarm()
	case Secret:
		defer e.giveUp(msg.GetRemovedResources())
	case Listener:
		if !e.asked[Scope] {
			defer e.ask(Scope)
			defer e.ask(ExtensionConfig)
		}
	}
	e.outbox = append(e.outbox, ack)
}

// giveUp does what the selector of certificates does when it is told that there is no
// secret for a server name: it asks again when a client comes again.
func (e *modelEnvoy) giveUp(removed []string) {
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: Secret.URL()}
	for _, name := range removed {
		if strings.HasSuffix(name, ".test") && e.secrets[name] {
			delete(e.secrets, name)
			e.drop(Secret, name)
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
		}
	}
	if len(req.ResourceNamesUnsubscribe) > 0 {
		e.outbox = append(e.outbox, modelRequest{Secret, req})
	}
}

// process takes a response over, as far as Envoy does, and returns what it rejects.
func (e *modelEnvoy) process(t Type, msg *discoveryv3.DeltaDiscoveryResponse) (culprit string) {
	resources := msg.GetResources()
	if t != Scope {
		resources = slices.Clone(resources)
		e.rng.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
	}
	known := make(map[string]bool)
	for _, res := range resources {
		name, bytes := res.GetName(), string(res.GetResource().GetValue())
		known[name] = t.info().skipsEqual == yes && e.last[t][name] == bytes
		switch {
		case known[name] || e.gaveUp(t, name):
			continue
		case t != Scope:
			e.last[t][name] = bytes
		}
		if e.rejects(t, res) {
			culprit = name
			if t != Cluster && t != Listener {
				break // the others are not looked at
			}
			continue
		}
		if t == Scope {
			e.last[t][name] = bytes // to be served if none is rejected
			continue
		}
		e.add(t, res)
	}
	removes := culprit == "" || t == Cluster || t == Listener || t == Scope
	for _, name := range msg.GetRemovedResources() {
		if removes {
			e.remove(t, name)
		}
	}
	if t == Scope && culprit == "" {
		for _, res := range resources {
			if !known[res.GetName()] {
				e.add(t, res)
			}
		}
	}
	return culprit
}

// rejects reports whether it rejects content; or its machine does, on which the port of
// a listener is taken that it does not have yet.
func (e *modelEnvoy) rejects(t Type, res *discoveryv3.Resource) bool {
	_, open := e.content[Listener][res.GetName()]
	return strings.HasPrefix(contentOf(e.t, t, res), poison) || t == Listener && e.busy[res.GetName()] && !open
}

func (e *modelEnvoy) warmed(cluster string) {
	delete(e.warming, cluster)
	if _, ok := e.content[Cluster][cluster]; ok {
		e.warm[cluster] = true
	}
}

// clustersWarm goes on with what waits for that.
func (e *modelEnvoy) clustersWarm() {
	if len(e.warming) > 0 {
		return
	}
	if e.ack != nil {
		e.outbox = append(e.outbox, *e.ack)
		e.ack = nil
	}
	if !e.asked[Cluster] {
		e.ask(Cluster)
	} else if e.answered && !e.ever[Listener] {
		e.running = true
		e.ask(Listener)
	}
}

func (e *modelEnvoy) askEndpoints(msg *discoveryv3.DeltaDiscoveryResponse) {
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: Endpoint.URL()}
	for _, res := range msg.GetResources() {
		if name := res.GetName(); !e.endpoints[name] {
			e.endpoints[name] = true
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
		}
	}
	for _, name := range msg.GetRemovedResources() {
		if e.endpoints[name] {
			delete(e.endpoints, name)
			e.drop(Endpoint, name)
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
		}
	}
	switch {
	case len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) == 0:
	case !e.asked[Endpoint]:
		e.ask(Endpoint)
	default:
		e.outbox = append(e.outbox, modelRequest{Endpoint, req})
	}
}

func (e *modelEnvoy) drop(t Type, name string) {
	delete(e.told[t], name)
	delete(e.content[t], name)
	delete(e.last[t], name)
}

// add fails the test when a scope or listener names a cluster that is not there and warm.
func (e *modelEnvoy) add(t Type, r *discoveryv3.Resource) {
	content := contentOf(e.t, t, r)
	switch t {
	case Cluster:
		e.warming[r.GetName()] = true
	case Scope, Listener:
		if content == noCluster || r.GetName() == leading || e.older[r.GetName()] {
			break
		}
		if _, ok := e.content[Cluster][content]; !ok {
			e.fail("%s %s names cluster %s, which Envoy does not have", t, r.GetName(), content)
		}
		if !e.warm[content] {
			e.fail("%s %s names cluster %s, which is not warm", t, r.GetName(), content)
		}
	}
	e.content[t][r.GetName()] = content
}

// remove fails the test when a cluster goes that a scope or listener still names, or a scope
// that another still leads to.
func (e *modelEnvoy) remove(t Type, name string) {
	switch t {
	case Cluster:
		for _, naming := range []Type{Scope, Listener} {
			for by, cluster := range e.content[naming] {
				if cluster == name && by != leading {
					e.fail("cluster %s is removed while %s %s names it", name, naming, by)
				}
			}
		}
		delete(e.warming, name)
		delete(e.warm, name)
	case Scope:
		if _, has := e.content[Scope][name]; has && e.content[Scope][leading] == name {
			e.fail("scope %s is removed while another leads to it", name)
		}
	case Secret:
		// Chains keep what they have, and the memory of what they rejected.
		delete(e.content[t], name)
		return
	}
	delete(e.content[t], name)
	delete(e.last[t], name)
}
