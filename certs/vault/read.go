package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"relay/internal/panics"
)

const (
	// concurrency bounds the certificates that are read at once.
	concurrency = 4
	// giveUpAfter failed certificates the rest of a read is not tried: Vault
	// has gone away in the middle.
	giveUpAfter = 10
	// suspiciousReads is how many polls with a suspicious answer fail, and how many
	// incomplete reads do before the first sync.
	suspiciousReads = 3
)

// errSuspicious is the error of a good answer that would undo what is known: an
// empty or an older "live". It is taken once enough polls gave it.
var errSuspicious = errors.New("not believed yet")

// errNotTried is the outcome of certificates that were not asked for.
var errNotTried = errors.New("not read: too many others failed")

// reader reads the store once at a time. It belongs to Serve's goroutine.
type reader struct {
	config Config
	client *client
	auth   *auth
	known  *known

	live        liveParser
	liveVersion int
	suspicious  int
	// complete is true once there was a read that told the sink everything;
	// incomplete counts the reads before.
	complete   bool
	incomplete int
}

// outcome is what a successful read gave.
type outcome struct {
	// changed is false when Vault had nothing new, or not all of it yet.
	changed bool
	// err is set when "live" was read but none of the certificates wanted
	// could be: what is known is still the truth, but the caller's news is
	// not in it.
	err error
}

// read reads "live" and the certificates that changed. A failed read leaves
// everything as it is. poll is true for the regular reads, which alone are
// counted before something suspicious is believed.
func (r *reader) read(ctx context.Context, poll bool) (outcome, error) {
	if err := r.auth.ensure(ctx); err != nil {
		return outcome{}, err
	}
	live, err := r.readLive(ctx)
	if err != nil {
		// The mount may be the reason; it is looked up again.
		r.client.mount = ""
		return outcome{}, err
	}
	confirmed, err := r.confirm(live, poll)
	if err != nil {
		return outcome{}, err
	}
	good, bad := r.live.parse(live.data)
	before := len(r.known.names)
	wanted := r.known.update(good, bad, confirmed)
	changed := live.version != r.liveVersion || len(r.known.names) < before
	results := r.fetchAll(ctx, wanted)
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	failed, behind := 0, false
	var last error
	now := time.Now()
	for _, f := range results {
		if err := r.known.apply(f, now); err != nil {
			panics.Log(r.auth.logger, err, "name", f.name)
		}
		behind = behind || f.behind()
		if f.err == nil {
			changed = changed || f.got.data != nil
			continue
		}
		if failed++; last == nil || errors.Is(last, errNotTried) {
			last = f.err
		}
	}
	if err := r.checkFirst(failed, len(results), last); err != nil {
		return outcome{}, err
	}
	r.complete, r.liveVersion = true, live.version
	if failed > 0 && failed == len(results) {
		err = fmt.Errorf("none of the %d changed certificates could be read: %w", failed, last)
	}
	return outcome{changed: changed && !behind, err: err}, nil
}

// readLive reads "live"; when the token is refused, once more with a new one.
func (r *reader) readLive(ctx context.Context) (kvEntry, error) {
	attempt := func() (kvEntry, error) {
		if err := r.client.detectMount(ctx, r.config.Mount); err != nil {
			return kvEntry{}, err
		}
		live, err := r.client.readKV(ctx, "live", 0)
		if isNotFound(err) {
			return live, fmt.Errorf("%w: %s", err, mountHint(r.config.Mount))
		}
		if err == nil && live.data == nil && live.version == 0 && r.known.empty() {
			// Nothing was ever written there, as before marathon-acme's first certificate.
			if mistake := mountMistake(r.config.Mount, r.client.detected); mistake != "" {
				return live, fmt.Errorf("there is nothing at %q: %s", r.client.mount+"/data/"+r.client.prefix+"live", mistake)
			}
		}
		return live, err
	}
	live, err := attempt()
	if !isForbidden(err) {
		return live, err
	}
	recovered, recoverErr := r.auth.recover(ctx)
	if recoverErr != nil {
		return kvEntry{}, fmt.Errorf("%w; %w", err, recoverErr)
	}
	if recovered {
		live, err = attempt()
	}
	if isForbidden(err) {
		return kvEntry{}, fmt.Errorf("%w: %s", err, r.refused(ctx))
	}
	return live, err
}

// refused says what is wrong with a token that there is no other for.
func (r *reader) refused(ctx context.Context) string {
	if !r.auth.alive(ctx) {
		return fmt.Sprintf("the token of %s is wrong, expired or revoked, or lacks the right to read this and to look itself up: put another there", r.config.tokenSetting())
	}
	return fmt.Sprintf("the token of %s is valid but lacks the right to read this: check its policy, and %s", r.config.tokenSetting(), mountHint(r.config.Mount))
}

// confirm refuses a "live" that lost all its names or became older, as after a
// restore, from a replica that is behind, or by accident, until enough polls gave
// the same. confirmed is true for one that was refused before.
func (r *reader) confirm(live kvEntry, poll bool) (confirmed bool, err error) {
	reason := ""
	switch {
	case len(live.data) == 0 && !r.known.empty():
		reason = "live is empty or deleted, but had names before"
	case live.version < r.liveVersion:
		reason = fmt.Sprintf("live has version %d, but had %d before", live.version, r.liveVersion)
	default:
		r.suspicious = 0
		return false, nil
	}
	if poll {
		r.suspicious++
	}
	if r.suspicious <= suspiciousReads {
		return false, fmt.Errorf("%s: %w (poll %d of %d)", reason, errSuspicious, r.suspicious, suspiciousReads)
	}
	r.suspicious = 0
	return true, nil
}

// checkFirst makes an error of a first read that is incomplete: Envoys that have
// certificates since before a restart of Relay would lose those that are missing.
// What was read is remembered, so that the next read only asks for the rest.
func (r *reader) checkFirst(failed, all int, last error) error {
	if r.complete || failed == 0 {
		return nil
	}
	r.incomplete++
	if certificates, _ := r.known.collect(time.Now()); r.incomplete <= suspiciousReads || len(certificates) == 0 {
		return fmt.Errorf("%d of %d certificates could not be read: %w", failed, all, last)
	}
	return nil
}

// fetchAll reads certificates, a few at a time. When some are refused because
// the token died, they are read again with a new one.
func (r *reader) fetchAll(ctx context.Context, wanted map[string]liveEntry) []fetched {
	results := r.fetchEach(ctx, wanted)
	refused := make(map[string]liveEntry)
	var rest []fetched
	for _, f := range results {
		if isForbidden(f.err) {
			refused[f.name] = f.live
		} else {
			rest = append(rest, f)
		}
	}
	if len(refused) == 0 || r.auth.alive(ctx) {
		return results
	}
	if recovered, err := r.auth.recover(ctx); err != nil || !recovered {
		return results
	}
	return append(rest, r.fetchEach(ctx, refused)...)
}

func (r *reader) fetchEach(ctx context.Context, wanted map[string]liveEntry) []fetched {
	var (
		group   sync.WaitGroup
		failed  atomic.Int64
		jobs    = make(chan fetched)
		results = make(chan fetched, len(wanted))
	)
	for range min(concurrency, len(wanted)) {
		group.Go(func() {
			for f := range jobs {
				if failed.Load() >= giveUpAfter {
					f.err = errNotTried
				} else {
					f.err = panics.Catch(func() error { return r.fetch(ctx, &f) })
				}
				if f.err != nil && !isForbidden(f.err) {
					failed.Add(1)
				}
				results <- f
			}
		})
	}
	for name, live := range wanted {
		jobs <- fetched{name: name, live: live}
	}
	close(jobs)
	group.Wait()
	close(results)
	var all []fetched
	for f := range results {
		all = append(all, f)
	}
	return all
}

// fetch reads the version that live names or, when that one is gone, the
// newest.
func (r *reader) fetch(ctx context.Context, f *fetched) (err error) {
	path := "certificates/" + f.name
	if f.got, err = r.client.readKV(ctx, path, f.live.Version); err != nil || f.got.data != nil {
		return err
	}
	f.got, err = r.client.readKV(ctx, path, 0)
	f.substitute = f.got.data != nil && f.got.version != f.live.Version
	return err
}
