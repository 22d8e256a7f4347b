package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"relay/admin/api"
	"relay/internal/state"
)

const (
	// knownContent tells the file of known Envoys from others.
	knownContent = "envoys"
	// knownFor is how long an Envoy is asked that is away, as xds.Server.Left has it.
	knownFor = time.Hour
	// knownEvery is how often it is looked whether there are others, knownSaved how often they are saved though there are none: the time of
	// the file is when they were connected last.
	knownEvery = 5 * time.Second
	knownSaved = 5 * time.Minute
)

// knownEnvoys are remembered over a restart: an Envoy that is down then connects to nobody, and would be missed by nobody.
type knownEnvoys struct {
	file state.File
	log  *slog.Logger
	// now are all of this moment, by fleet.
	now func() map[string][]api.ProbeEnvoy
	// before are those of the run before, each with the time at which it was away.
	before map[string][]api.ProbeEnvoy

	saved   []byte
	savedAt time.Time
	failed  bool
}

// newKnownEnvoys reads which Envoys there were; nil if nothing is to be saved.
func (r *Relay) newKnownEnvoys() (*knownEnvoys, error) {
	if r.config.State.Dir == "" {
		return nil, nil
	}
	key, err := r.config.State.key()
	if err != nil {
		return nil, err
	}
	k := &knownEnvoys{
		file: state.File{Path: filepath.Join(absolute(r.config.State.Dir), knownContent+".state"), Content: knownContent, Key: key},
		log:  r.log.With("part", "state"), now: probing{r}.envoys,
	}
	k.read(time.Now())
	return k, nil
}

// read takes in the file. Without one nothing is known, which is no reason not to start.
func (k *knownEnvoys) read(now time.Time) {
	body, at, err := k.file.Load()
	if err == nil {
		err = json.Unmarshal(body, &k.before)
	}
	if err != nil {
		k.before = nil
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Warn("which Envoys there were is not known: one that is down is not missed", "event", "envoys_unread", "error", err)
		}
		return
	}
	for _, envoys := range k.before {
		for i := range envoys {
			if e := &envoys[i]; e.Disconnected.IsZero() {
				e.Disconnected = at
			}
			if envoys[i].Disconnected.After(now) { // the clock was another one
				envoys[i].Disconnected = now.UTC()
			}
		}
	}
}

// away are those of the run before that may be asked still, by fleet. A nil one knows none.
func (k *knownEnvoys) away(now time.Time) map[string][]api.ProbeEnvoy {
	away := make(map[string][]api.ProbeEnvoy)
	if k == nil {
		return away
	}
	for fleet, envoys := range k.before {
		for _, e := range envoys {
			if now.Sub(e.Disconnected) < knownFor {
				away[fleet] = append(away[fleet], e)
			}
		}
	}
	return away
}

// Serve saves which Envoys there are, until the context ends.
func (k *knownEnvoys) Serve(ctx context.Context) error {
	ticker := time.NewTicker(knownEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			k.save(time.Now())
		}
	}
}

func (k *knownEnvoys) save(now time.Time) {
	body, err := json.Marshal(k.now())
	if err == nil {
		if bytes.Equal(body, k.saved) && now.Sub(k.savedAt) < knownSaved {
			return
		}
		err = k.file.Save(now, body)
	}
	if err != nil {
		if !k.failed {
			k.log.Error("which Envoys there are cannot be saved: after a restart one that is down is not missed", "event", "envoys_unsaved", "error", err)
		}
		k.failed = true
		return
	}
	k.saved, k.savedAt, k.failed = body, now, false
}
