package relay

import (
	"context"
	"errors"
	"io/fs"

	"relay/connections/slots"
	"relay/sources"
	appsstate "relay/sources/savedstate"
)

// throughSlots returns what a source feeds in place of next, which is what saves the apps. Without saved state a Relay
// that is started anew could not know the slots of before, and ids would move. So there are none then, and Envoys
// spread ids over addresses.
func (r *Relay) throughSlots(k *stateKeepers, next sources.Sink) sources.Sink {
	if k.config.State.Dir == "" {
		return next
	}
	file := k.settings(savedApps, k.config.Apps.source().kind).File
	r.slots = slots.New(next, func() []*sources.App {
		apps, err := appsstate.Load(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.log.Warn("the slots of instances are not known from before: ids of ports that are hashed may go to other instances",
				"event", "slots_unknown", "error", err)
		}
		return apps
	})
	if r.scaling != nil && len(r.config.Scaling.Peers.URLs) > 0 {
		r.slots.Others = func() (all []slots.Slot) {
			for _, s := range r.scaling.peers.Slots(context.Background()) {
				all = append(all, slots.Slot(s))
			}
			return all
		}
	}
	return r.slots
}
