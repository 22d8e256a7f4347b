package relay

import (
	"context"
	"fmt"

	"relay/internal/files"
	"relay/scaling/peers"
	"relay/sources/marathon"
)

// checkScaling looks at what Relay writes to Marathon with, where a mistake ends "relay serve" at the
// start, and asks the peers. Whether Marathon lets it write is not tried.
func (r *checker) checkScaling(ctx context.Context, c Scaling) {
	if !c.Enabled {
		return
	}
	scaler, err := marathon.NewScaler(c.Marathon)
	r.say("scaling", err)
	if err == nil {
		scaler.Close()
	}
	if len(c.Peers.URLs) == 0 {
		return
	}
	config, err := c.Peers.config()
	if err == nil && config.TokenFile != "" {
		if _, err = files.Secret(config.TokenFile); err != nil {
			err = fmt.Errorf("--peers-token-file: %w", err)
		}
	}
	if err != nil {
		r.say("peers", err)
		return
	}
	for _, peer := range peers.Try(ctx, config) {
		if peer.Away {
			fmt.Fprintf(r.out, "note   peers: the Relay at %s cannot be asked: %v. While it is so, no app is put to sleep. See whether it runs, and whether the address is right\n", peer.Name, peer.Err)
			continue
		}
		r.say("peers: the Relay at "+peer.Name, peer.Err)
	}
}
