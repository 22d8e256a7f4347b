package savedstate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
)

// saved is an app in a file. Its hashes of passwords hide from JSON, so they
// are beside it, by port index.
type saved struct {
	App    *savedApp
	Hashes map[int]string `json:",omitempty"`
	// MoreHashes are those of further users.
	MoreHashes map[int][]string `json:",omitempty"`
}

// savedApp has its problems under the names that files have.
type savedApp struct {
	*sources.App
	Problems []savedProblem
	// Notes are read and not saved: they restrict nothing, and an earlier version, which
	// does not know them, would refuse the file.
	Notes []sources.Note `json:",omitempty"`
	// Stopped is not saved as it is, for the same reason: see markStopped.
	Stopped bool `json:",omitempty"`
	// Unrouted is not saved: it is for people alone.
	Unrouted []sources.Unrouted `json:",omitempty"`
}

// savedProblem is what is saved of a problem.Problem. Of an earlier version it has all.
type savedProblem struct {
	Kind       problem.Kind `json:",omitempty"`
	Fleet, App string       `json:",omitempty"`
	Subject    string
	Item       string `json:",omitempty"`
	Reason     string
}

func savedAs(app *sources.App) *savedApp {
	app = markStopped(app)
	if app.Scaling == nil && app.Orchestration != nil {
		without := *app
		without.Orchestration = nil
		app = &without
	}
	s := &savedApp{App: app}
	for _, p := range app.Problems {
		s.Problems = append(s.Problems, savedProblem{p.Kind, p.Fleet, p.App, p.Subject, p.Item, p.Reason})
	}
	return s
}

// codec turns apps into the body of a file and back.
type codec struct{ keepSecrets bool }

// encode saves no hash of a password in a file that is not encrypted. A port that asks for
// a password is saved as closed then: it answers everything with 403.
func (c codec) encode(apps []*sources.App) ([]byte, error) {
	all := make([]saved, len(apps))
	for i, app := range slices.SortedFunc(slices.Values(apps), byID) {
		if c.keepSecrets {
			all[i] = saved{savedAs(app), hashes(app), moreHashes(app)}
		} else {
			all[i] = saved{App: savedAs(closed(app))}
		}
	}
	return json.Marshal(all)
}

func hashes(app *sources.App) map[int]string {
	found := make(map[int]string)
	for i, port := range app.Ports {
		if port.HTTP != nil && port.HTTP.BasicAuth != nil {
			found[i] = string(port.HTTP.BasicAuth.Hash)
		}
	}
	return found
}

func moreHashes(app *sources.App) map[int][]string {
	found := make(map[int][]string)
	for i, port := range app.Ports {
		if port.HTTP == nil || port.HTTP.BasicAuth == nil {
			continue
		}
		for _, u := range port.HTTP.BasicAuth.More {
			found[i] = append(found[i], string(u.Hash))
		}
	}
	return found
}

func closed(app *sources.App) *sources.App {
	if len(hashes(app)) == 0 {
		return app
	}
	without := *app
	without.Ports, without.Problems = slices.Clone(app.Ports), slices.Clone(app.Problems)
	for i, port := range app.Ports {
		if port.HTTP == nil || port.HTTP.BasicAuth == nil {
			continue
		}
		http := *port.HTTP
		http.Closed, http.BasicAuth = true, nil
		without.Ports[i].HTTP = &http
		without.Problems = append(without.Problems, problem.Problem{
			Subject: fmt.Sprintf("port %d", i),
			Reason:  "its password was not saved, requests are answered 403 until the source can be read: give --state-key-file",
		})
	}
	return &without
}

// decode refuses the whole file if one app is not complete: without it, another app could
// get its domain, or clients could get in that must not.
func (c codec) decode(body []byte) ([]*sources.App, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	// A field that this version does not know may be a restriction.
	decoder.DisallowUnknownFields()
	var all []saved
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("it cannot be decoded: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has something after its end")
	}
	apps := make([]*sources.App, len(all))
	seen := make(map[string]bool, len(all))
	for i, s := range all {
		if s.App == nil || s.App.App == nil || s.App.ID == "" || seen[s.App.ID] {
			return nil, errors.New("it has an app without an id of its own")
		}
		seen[s.App.ID] = true
		if err := s.restore(); err != nil {
			return nil, fmt.Errorf("app %.200q: %w", s.App.ID, err)
		}
		apps[i] = s.App.App
	}
	return apps, nil
}

// restore puts back what is beside the app, all of it.
func (s saved) restore() error {
	for _, p := range s.App.Problems {
		s.App.App.Problems = append(s.App.App.Problems, problem.Problem{Kind: p.Kind, Fleet: p.Fleet, App: p.App, Subject: p.Subject, Item: p.Item, Reason: p.Reason})
	}
	s.App.App.Notes = s.App.Notes
	s.App.App.Stopped = s.App.Stopped || unmarkStopped(s.App.App)
	found, more := 0, 0
	for i := range s.App.Ports {
		http := s.App.Ports[i].HTTP
		if http == nil || http.BasicAuth == nil {
			continue
		}
		hash := s.Hashes[i]
		if hash == "" {
			return fmt.Errorf("port %d asks for a password that was not saved", i)
		}
		http.BasicAuth.Hash = secret.String(hash)
		found++
		if err := s.restoreMore(i, http.BasicAuth); err != nil {
			return err
		}
		if len(http.BasicAuth.More) > 0 {
			more++
		}
	}
	if found != len(s.Hashes) || more != len(s.MoreHashes) {
		return errors.New("a password was saved that no port asks for")
	}
	return nil
}

// restoreMore puts back the hashes of further users of a port.
func (s saved) restoreMore(port int, auth *sources.BasicAuth) error {
	if len(auth.More) != len(s.MoreHashes[port]) {
		return fmt.Errorf("port %d asks for passwords that were not saved", port)
	}
	for i, hash := range s.MoreHashes[port] {
		if hash == "" {
			return fmt.Errorf("port %d asks for a password that was not saved", port)
		}
		auth.More[i].Hash = secret.String(hash)
	}
	return nil
}
