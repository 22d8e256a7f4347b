package marathon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"relay/sources"
)

const asleepLabel = "RELAY_ASLEEP"

// Scaler changes the number of instances of apps of one Marathon cluster. It is the only thing
// of Relay that writes to Marathon. Its methods may be called from several goroutines.
//
// Marathon has no change that holds only if nobody else has changed the app. So a Scaler looks
// at the app before it changes it, and at its versions after: see settle.
type Scaler struct {
	client  *client
	timeout time.Duration // of a whole Rescale
	server  atomic.Int64  // the number of the server that answered last
}

var _ sources.Scaler = (*Scaler)(nil)

// Credentials are one way to log in to Marathon. The fields mean what they mean in Config.
type Credentials struct {
	User, PasswordFile, TokenFile, ServiceAccountFile string
}

// NewScaler returns a Scaler for the cluster in cfg. It logs in by Config.Write, if that is set,
// and else as the Watcher does. An error names the setting to correct and never repeats a URL.
func NewScaler(cfg Config) (*Scaler, error) {
	cfg = cfg.withDefaults()
	if own := cfg.Write; own != (Credentials{}) {
		cfg.User, cfg.PasswordFile, cfg.TokenFile, cfg.ServiceAccountFile = own.User, own.PasswordFile, own.TokenFile, own.ServiceAccountFile
		cfg.URLs = slices.Clone(cfg.URLs)
		for i, raw := range cfg.URLs {
			if u, err := url.Parse(raw); err == nil { // else newClient says what is wrong
				u.User = nil
				cfg.URLs[i] = u.String()
			}
		}
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Scaler{client: c, timeout: 2 * cfg.HeaderTimeout}, nil
}

// Close closes connections that are not in use.
func (s *Scaler) Close() { s.client.http.CloseIdleConnections() }

// Rescale implements sources.Scaler. What is so already is not written again.
func (s *Scaler) Rescale(ctx context.Context, r sources.Rescale) (sources.Rescaled, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	done, err := s.rescale(ctx, r)
	if err != nil {
		return sources.Rescaled{}, fmt.Errorf("scale app %s of Marathon to %d: %w", clip(r.App), r.Instances, err)
	}
	return done, nil
}

func (s *Scaler) rescale(ctx context.Context, r sources.Rescale) (sources.Rescaled, error) {
	if err := checkRescale(r); err != nil {
		return sources.Rescaled{}, fmt.Errorf("%w: %w", sources.ErrUntouched, err)
	}
	t, app, err := s.read(ctx, r.App)
	switch {
	case errors.Is(err, sources.ErrGone):
		return sources.Rescaled{}, err
	case err != nil:
		return sources.Rescaled{}, fmt.Errorf("%w: %w", sources.ErrUntouched, err)
	}
	if isDone(app, r) { // by another Relay, or by this one, which did not get the answer
		return rescaledAs(app), nil
	}
	if err := mayChange(app, r); err != nil {
		return sources.Rescaled{}, err
	}
	w := plannedWrite(app, r)
	answer, err := s.write(ctx, t, w.request)
	if err != nil {
		return s.notWritten(ctx, r, err)
	}
	return s.settle(ctx, t, w, answer)
}

// checkRescale refuses what makes no sense, and apps that Marathon's API cannot name.
func checkRescale(r sources.Rescale) error {
	id, ok := cleanID(r.App)
	switch {
	case !ok || id != r.App:
		return errors.New("it is not the id of an app")
	case ambiguousID(id):
		return errors.New("the id reads as the path of something below another app: Relay changes nothing there, rename the app")
	case r.Instances < 0, r.Asleep < 0, r.Asleep > 0 && r.Instances > 0:
		return fmt.Errorf("%d instances, asleep with %d: an app that sleeps has none", r.Instances, r.Asleep)
	}
	return nil
}

// read reads an app from the server that answered last, or from another one if it does not.
func (s *Scaler) read(ctx context.Context, id string) (target, *appJSON, error) {
	var failed error
	first := s.server.Load()
	for i := range s.client.servers {
		n := (int(first) + i) % len(s.client.servers)
		server := s.client.servers[n]
		t, app, found, err := s.client.single(ctx, target{base: server.url, origin: server}, id)
		switch {
		case err != nil && (hasStatus(err, http.StatusUnauthorized) || hasStatus(err, http.StatusForbidden) || ctx.Err() != nil):
			return t, nil, err
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		}
		s.server.Store(int64(n))
		switch {
		case !found:
			return t, nil, sources.ErrGone
		case app.mismatch != "":
			return t, nil, fmt.Errorf("%s, which is not what Marathon documents: it is not changed", clip(app.mismatch))
		}
		return t, &app.app, nil
	}
	return target{}, nil, failed
}

// isDone reports whether an app is already as it shall be.
func isDone(a *appJSON, r sources.Rescale) bool {
	if a.Instances != r.Instances {
		return false
	}
	if r.Asleep > 0 {
		return asleepOf(a) == r.Asleep
	}
	return a.Instances > 0 || asleepOf(a) == 0
}

// asleepOf returns how many instances an app had that Relay has put to sleep; 0 for all others.
func asleepOf(a *appJSON) int {
	n, err := strconv.Atoi(a.Labels[asleepLabel])
	if err != nil || n < 0 || a.Instances > 0 || scaledByHand(a) {
		return 0
	}
	return n
}

func rescaledAs(a *appJSON) sources.Rescaled {
	done := sources.Rescaled{Version: a.Version}
	if len(a.Deployments) == 1 {
		done.Deployment = string(a.Deployments[0].ID)
	}
	return done
}

// mayChange says why an app is not to be changed, if it is not.
func mayChange(a *appJSON, r sources.Rescale) error {
	switch {
	case a.Version != r.Version:
		return fmt.Errorf("%w: its version is %s, and was %s", sources.ErrChanged, clip(a.Version), clip(r.Version))
	case a.Instances == 0 && (r.Asleep > 0 || r.Instances > 0 && asleepOf(a) == 0 && !r.Suspended):
		return fmt.Errorf("%w: people have scaled it to 0", sources.ErrChanged)
	case r.Exact && len(tasksToKill(a, r)) < len(r.Kill):
		return fmt.Errorf("%w: some of the tasks that were to be killed are gone, or are being killed", sources.ErrChanged)
	}
	for _, d := range a.Deployments {
		if r.Over == "" || string(d.ID) != r.Over {
			return fmt.Errorf("%w: %s", sources.ErrLocked, clip(string(d.ID)))
		}
	}
	return nil
}

// edit is a change, and what it rests on.
type edit struct {
	id     string
	before *appJSON
	// instances and labels are what was written; labels are nil if they stay.
	instances int
	labels    map[string]string
	// relative tells that the number of instances was changed by a difference.
	relative bool
	request  writeRequest
}

// plannedWrite is the request that makes an app what it shall be.
func plannedWrite(a *appJSON, r sources.Rescale) edit {
	force := url.Values{}
	if len(a.Deployments) > 0 {
		force.Set("force", "true")
	}
	if kill := tasksToKill(a, r); len(kill) > 0 {
		force.Set("scale", "true")
		body, _ := json.Marshal(map[string][]string{"ids": kill}) // of texts: it cannot fail
		return edit{id: a.ID, before: a, instances: a.Instances - len(kill), relative: true, request: writeRequest{http.MethodPost, "/v2/tasks/delete", force, body}}
	}
	return putWrite(a, r.Instances, labelsFor(a, r), force)
}

// putWrite is a change of the number of instances, and of all labels unless they are nil. It names
// no version: with one, Marathon would take the app back to that.
func putWrite(a *appJSON, instances int, labels map[string]string, query url.Values) edit {
	fields := map[string]any{"instances": instances}
	if labels != nil {
		fields["labels"] = labels
	}
	body, _ := json.Marshal(fields) // of numbers and texts: it cannot fail
	return edit{id: a.ID, before: a, instances: instances, labels: labels, request: writeRequest{http.MethodPut, "/v2/apps" + a.ID, query, body}}
}

// tasksToKill are those of a Rescale that the app still has, at most as many as are too many.
func tasksToKill(a *appJSON, r sources.Rescale) []string {
	var ids []string
	for i := range a.Tasks {
		t := &a.Tasks[i]
		if len(ids) < a.Instances-r.Instances && slices.Contains(r.Kill, t.ID) && taskPhase(t) != phaseEnded && taskPhase(t) != phaseKilling {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// labelsFor returns the labels that an app gets; nil if they stay as they are. Marathon starts the
// tasks of an app anew whose labels change, so they only change while there is none, or shall be none.
func labelsFor(a *appJSON, r sources.Rescale) map[string]string {
	old, has := a.Labels[asleepLabel]
	labels := maps.Clone(a.Labels)
	switch {
	case r.Asleep > 0:
		if labels == nil {
			labels = map[string]string{}
		}
		// If the label is there with the same number, which people left, it has to change too: else
		// it would look as if they had scaled the app to 0. See scaledByHand.
		if labels[asleepLabel] = strconv.Itoa(r.Asleep); labels[asleepLabel] == old {
			labels[asleepLabel] = "0" + old
		}
	case has && a.Instances == 0:
		delete(labels, asleepLabel)
	default:
		return nil
	}
	return labels
}

// written is the answer to a change.
type written struct {
	Version    string `json:"version"`
	Deployment string `json:"deploymentId"`
}

func (s *Scaler) write(ctx context.Context, t target, r writeRequest) (written, error) {
	var answer written
	data, err := s.client.send(ctx, t, r)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Version == "" {
		return answer, fmt.Errorf("%s%s: the answer names no version", t.base, r.path)
	}
	return answer, nil
}

// notWritten says what became of a change that has failed. If it is not known, it looks at the app:
// Marathon may have made the change, and the answer may have been lost.
func (s *Scaler) notWritten(ctx context.Context, r sources.Rescale, err error) (sources.Rescaled, error) {
	status, answered := errors.AsType[*statusError](err)
	if answered && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden) {
		return sources.Rescaled{}, fmt.Errorf("%w: %w", sources.ErrUntouched, err)
	}
	_, app, failed := s.read(ctx, r.App)
	switch {
	case errors.Is(failed, sources.ErrGone):
		return sources.Rescaled{}, failed
	case failed == nil && app.Version != r.Version && isDone(app, r):
		return rescaledAs(app), nil
	case answered && status.code == http.StatusConflict:
		return sources.Rescaled{}, fmt.Errorf("%w: %w", sources.ErrLocked, err)
	case answered && status.code >= 400 && status.code < 500 && status.code != http.StatusRequestTimeout:
		return sources.Rescaled{}, fmt.Errorf("%w: %w", sources.ErrUntouched, err)
	}
	return sources.Rescaled{}, err
}
