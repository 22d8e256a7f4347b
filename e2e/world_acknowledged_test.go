package e2e

import (
	"errors"
	"fmt"
	"slices"

	"relay/xds"
)

// streams waits for this many Envoys and returns them.
func (a *adminClient) streams(n int) []xds.StreamStatus {
	a.t.Helper()
	var streams []xds.StreamStatus
	eventually(a.t, fmt.Sprintf("%d streams", n), func() error {
		if streams = a.envoys(); len(streams) != n {
			return fmt.Errorf("there are %d", len(streams))
		}
		return nil
	})
	return streams
}

// settled waits until Relay serves, and each Envoy that is connected, one at least, has acknowledged all there is.
func (a *adminClient) settled() {
	a.t.Helper()
	eventually(a.t, "all asked for", func() error {
		if reason := a.notReady(); reason != "" {
			return errors.New(reason)
		}
		// Envoy asks for listeners once it has clusters.
		for _, s := range a.envoys() {
			if !slices.ContainsFunc(s.Types, func(t xds.TypeStatus) bool { return t.Type == xds.Listener }) {
				return fmt.Errorf("%s has not asked for listeners", s.NodeID)
			}
		}
		return nil
	})
	a.acknowledged()
}

// acknowledged is settled for clients that ask for something only, and for a Relay that cannot serve all.
func (a *adminClient) acknowledged() {
	a.t.Helper()
	eventually(a.t, "all acknowledged", func() error {
		envoys := a.envoys()
		for _, s := range envoys {
			for _, t := range s.Types {
				if t.Behind > 0 || t.InFlight {
					return fmt.Errorf("%+v", t)
				}
			}
		}
		if len(envoys) == 0 {
			return errors.New("no Envoy is connected")
		}
		return nil
	})
}
