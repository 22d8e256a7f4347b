package marathon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"relay/sources"
)

const (
	// maxPutBacks bounds how often something is put back, one change after another.
	maxPutBacks = 3
	// settlePause is the time between two tries to read what came in between, and settleTries
	// their number.
	settlePause, settleTries = 200 * time.Millisecond, 5
	// maxVersionList bounds the bytes of a list of versions.
	maxVersionList = 1 << 20
)

// settle looks whether somebody else has changed an app between the read on which a change rests
// and the change. If the change took their labels or their number of instances away, it gives
// them back, and the error is sources.ErrChanged.
func (s *Scaler) settle(ctx context.Context, t target, w edit, answer written) (sources.Rescaled, error) {
	theirs, version, err := s.between(ctx, t, w, answer)
	switch {
	case err != nil:
		return sources.Rescaled{}, fmt.Errorf("it is done, but whether somebody has changed the app at the same time cannot be read: %w", err)
	case theirs != nil && w.overwrites(theirs):
		return sources.Rescaled{}, s.putBack(ctx, t, w, answer, theirs)
	case version != answer.Version: // somebody else had made the same change
		return sources.Rescaled{Version: version}, nil
	}
	return sources.Rescaled{Version: answer.Version, Deployment: answer.Deployment}, nil
}

// overwrites reports whether a change took away what people had set just before.
func (w edit) overwrites(theirs *appJSON) bool {
	ours := runs{w.instances, w.before.Labels[asleepLabel]}
	if w.labels != nil {
		ours.asleep = w.labels[asleepLabel]
	}
	if is := runsOf(theirs).normal(); is != runsOf(w.before).normal() && (w.relative || is != ours.normal()) {
		return true
	}
	return w.labels != nil && !maps.Equal(theirs.Labels, w.before.Labels) && !maps.Equal(theirs.Labels, w.labels)
}

// runs is how many instances there shall be of an app, and if there are none, why: an app that
// people suspend has no number to wake with.
type runs struct {
	instances int
	asleep    string
}

func runsOf(a *appJSON) runs { return runs{a.Instances, a.Labels[asleepLabel]} }

func (r runs) normal() runs {
	if r.instances > 0 {
		r.asleep = ""
	}
	return r
}

// putBack gives an app the labels and the number of instances of the definition that a change
// took the place of. It never goes over what came after the change. The error says what was done.
func (s *Scaler) putBack(ctx context.Context, t target, w edit, answer written, theirs *appJSON) error {
	for range maxPutBacks {
		_, now, err := s.read(ctx, w.id)
		if err != nil {
			return fmt.Errorf("%w by version %s, and what that had set could not be put back: %w", sources.ErrChanged, clip(theirs.Version), err)
		}
		query := url.Values{}
		for _, d := range now.Deployments {
			if query.Set("force", "true"); string(d.ID) != answer.Deployment {
				now.Version = ""
			}
		}
		if now.Version != answer.Version { // of people who have seen this change, or deploy the app
			return fmt.Errorf("%w by version %s, and once more", sources.ErrChanged, clip(theirs.Version))
		}
		var labels map[string]string
		if w.labels != nil {
			if labels = maps.Clone(theirs.Labels); labels == nil {
				labels = map[string]string{}
			}
			if theirs.Instances == 0 && scaledByHand(theirs) { // suspended, whatever label was left there
				delete(labels, asleepLabel)
			}
		}
		w = putWrite(now, theirs.Instances, labels, query)
		if answer, err = s.write(ctx, t, w.request); err != nil {
			return fmt.Errorf("%w by version %s, and what that had set could not be put back: %w", sources.ErrChanged, clip(theirs.Version), err)
		}
		next, _, err := s.between(ctx, t, w, answer)
		if err != nil || next == nil || !w.overwrites(next) {
			return fmt.Errorf("%w by version %s at the same moment: its labels and instances were put back", sources.ErrChanged, clip(theirs.Version))
		}
		theirs = next
	}
	return fmt.Errorf("%w, again and again", sources.ErrChanged)
}

// between returns the newest definition of an app between the read on which a change rests and
// the change; nil if there is none. version is the one that the change has made, or another one
// if there was nothing left to change.
func (s *Scaler) between(ctx context.Context, t target, w edit, answer written) (theirs *appJSON, version string, err error) {
	before, ok := parseTime(w.before.Version)
	ours, known := parseTime(answer.Version)
	if !ok || !known {
		return nil, answer.Version, nil // versions of this Marathon cannot be compared
	}
	for try := range settleTries {
		if try > 0 {
			if err := sleep(ctx, settlePause); err != nil {
				return nil, "", err
			}
		}
		var versions []string
		if versions, err = s.client.versions(ctx, t, w.id); err != nil {
			continue
		}
		last, made := before, false
		version, name := answer.Version, ""
		for _, v := range versions {
			at, ok := parseTime(v)
			made = made || ok && at.Equal(ours)
			if ok && at.After(last) && at.Before(ours) {
				last, name = at, v
			}
		}
		switch {
		case !made && name != "":
			version = name
		case !made && try < settleTries-1:
			continue // it cannot be read yet
		case made && name != "":
			if theirs, err = s.client.definition(ctx, t, w.id, name); err != nil {
				continue
			}
		}
		return theirs, version, nil
	}
	return nil, "", err
}

// versions reads the versions of an app.
func (c *client) versions(ctx context.Context, t target, id string) ([]string, error) {
	resp, _, err := c.open(ctx, t, "/v2/apps"+id+"/versions", nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, fmt.Errorf("read the versions of app %s: %w", id, err)
	}
	defer resp.Body.Close()
	var answer struct {
		Versions []string `json:"versions"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxVersionList)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the versions of app %s: %w", id, err)
	}
	return answer.Versions, nil
}

// definition reads one version of an app as it is.
func (c *client) definition(ctx context.Context, t target, id, version string) (*appJSON, error) {
	resp, _, err := c.open(ctx, t, "/v2/apps"+id+"/versions/"+version, nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, fmt.Errorf("read version %s of app %s: %w", clip(version), id, err)
	}
	defer resp.Body.Close()
	answer, err := decodeDefinition(io.LimitReader(resp.Body, maxDefinition))
	if err == nil && (answer.app.ID != id || answer.mismatch != "") {
		err = fmt.Errorf("the answer is about %s, or not what Marathon documents", clip(answer.app.ID))
	}
	if err != nil {
		return nil, fmt.Errorf("read version %s of app %s: %w", clip(version), id, err)
	}
	return &answer.app, nil
}
