package xds

import (
	"slices"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

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
			if !e.unsubscribed(t, res.GetName()) {
				e.initial[t][res.GetName()] = res.GetVersion()
			}
		}
		for _, name := range msg.GetRemovedResources() {
			delete(e.initial[t], name)
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
		defer e.unsubscribeMissing(msg.GetRemovedResources())
	case Listener:
		if !e.asked[Scope] {
			defer e.ask(Scope)
			defer e.ask(ExtensionConfig)
		}
	}
	e.outbox = append(e.outbox, ack)
}

// unsubscribeMissing does what the selector of certificates does when there is no secret for a server
// name: it subscribes again when a client comes again.
func (e *modelEnvoy) unsubscribeMissing(removed []string) {
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
		known[name] = t.info().skipsEqual == yes && e.lastRead[t][name] == bytes
		switch {
		case known[name] || e.unsubscribed(t, name):
			continue
		case t != Scope:
			e.lastRead[t][name] = bytes
		}
		if e.rejects(t, res) {
			culprit = name
			if t != Cluster && t != Listener {
				break // the others are not read
			}
			continue
		}
		if t == Scope {
			e.lastRead[t][name] = bytes // to be served if none is rejected
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
	return strings.HasPrefix(contentOf(e.t, t, res), poison) || t == Listener && e.portTaken[res.GetName()] && !open
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
	delete(e.initial[t], name)
	delete(e.content[t], name)
	delete(e.lastRead[t], name)
}

// add fails the test when a scope or listener names a cluster that is not there and warm.
func (e *modelEnvoy) add(t Type, r *discoveryv3.Resource) {
	content := contentOf(e.t, t, r)
	switch t {
	case Cluster:
		e.warming[r.GetName()] = true
	case Scope, Listener:
		if content == noCluster || r.GetName() == leading || e.lastGood[r.GetName()] {
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
	delete(e.lastRead[t], name)
}
