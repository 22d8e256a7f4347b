package relay

import (
	"context"
	"log/slog"

	"relay/connections/slots"
	"relay/scaling/peers"
	"relay/sources"
)

// throughSlots returns what a source feeds in place of next, which is what saves the apps. Without saved state a Relay
// that is started anew could not know the slots of before, and ids would move. So there are none then, and Envoys
// spread ids over addresses.
func (r *Relay) throughSlots(k *stateKeepers, saved savedBefore, next sources.Sink) sources.Sink {
	if k.config.State.Dir == "" {
		return next
	}
	r.slots = slots.New(next, func() []*sources.App {
		apps, err := saved()
		if err != nil {
			k.log.Warn("the slots of instances are not known from before: ids of ports that are hashed may go to other instances",
				"event", "slots_unknown", "error", err)
		}
		return apps
	})
	if r.scaling != nil && len(r.config.Scaling.Peers.URLs) > 0 {
		r.scaling.peers.Slots = peerSlots{r.slots, k.log}
		r.slots.Others = func() (all []slots.Port) {
			for _, p := range r.scaling.peers.SlotsAtStart(context.Background()) {
				all = append(all, slots.Port(p))
			}
			return all
		}
	}
	return r.slots
}

// peerSlots are the slots of this Relay, for its peers.
type peerSlots struct {
	*slots.Stage
	log *slog.Logger
}

var _ peers.Slots = peerSlots{}

// Relays compare as many parts as slots are in.
var _ [slots.Parts]int = [peers.SlotParts]int{}

// Known implements peers.Slots.
func (s peerSlots) Known(digests []uint64) (parts []int, all []peers.SlotPort) {
	parts, ports := s.Stage.Known(digests)
	for _, p := range ports {
		all = append(all, peers.SlotPort(p))
	}
	return parts, all
}

// Compare implements peers.Slots.
func (s peerSlots) Compare(parts []int, theirs []peers.SlotPort, counts func(app string, port int, comparable bool) bool) {
	ports := make([]slots.Port, len(theirs))
	for i, p := range theirs {
		ports[i] = slots.Port(p)
	}
	if changed := s.Stage.Compare(parts, ports, counts); len(changed) > 0 {
		s.log.Info("took over the slots of another Relay, which runs longer: some ids go to other instances", "event", "slots_taken_over",
			"apps", len(changed), "first", changed[0])
	}
}
