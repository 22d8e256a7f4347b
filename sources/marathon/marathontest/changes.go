package marathontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

var (
	errNoApp     = errors.New("no such app")
	errAppExists = errors.New("an app with this id exists already")
)

// Apply creates or updates an app as PUT /v2/apps/{id} does: the fields given
// replace those of the app. It returns when the change is accepted; see WaitIdle.
func (s *Server) Apply(definition string) error {
	fields, err := parseFields([]byte(definition))
	if err != nil {
		return err
	}
	id := absolute(text(fields["id"]))
	_, _, err = s.put([]map[string]any{fields}, options{from: &origin{"127.0.0.1", "/v2/apps/" + id}})
	return err
}

// DeleteApp deletes an app as DELETE /v2/apps/{id} does.
func (s *Server) DeleteApp(id string) error {
	_, err := s.delete(id, false)
	return err
}

// Restart replaces all tasks of an app as POST /v2/apps/{id}/restart does.
func (s *Server) Restart(id string) error {
	_, _, err := s.put([]map[string]any{{"id": id}}, options{restart: true, must: true})
	return err
}

// options of a change.
type options struct {
	force   bool
	restart bool
	must    bool        // the app must exist
	kill    []*instance // the ones a scale down must take
	mustNot bool        // the app must not exist
	from    *origin     // nil when Marathon publishes no api_post_event
}

func parseFields(data []byte) (map[string]any, error) {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if fields == nil {
		return nil, errors.New("invalid JSON: not an object")
	}
	return fields, nil
}

func absolute(id string) string { return "/" + strings.Trim(id, "/") }

// put creates or updates apps in one deployment. created tells whether the
// (first) app is new.
func (s *Server) put(apps []map[string]any, o options) (d *deployment, created bool, err error) {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	return s.putLocked(apps, o)
}

// putLocked is put for a caller that holds s.accepting.
func (s *Server) putLocked(apps []map[string]any, o options) (d *deployment, created bool, err error) {
	s.mu.Lock()
	version := s.newVersion()
	changes, err := s.changes(apps, version, o)
	s.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	d, err = s.deploy(changes, version, o.from, o.force)
	return d, len(changes) > 0 && changes[0].old == nil, err
}

// changes computes the new definitions. The caller holds s.mu.
func (s *Server) changes(apps []map[string]any, version string, o options) ([]change, error) {
	nextPort := func() int {
		s.nextPort++
		return s.nextPort - 1
	}
	var list []change
	for _, fields := range apps {
		id := absolute(text(fields["id"]))
		c := change{app: s.apps[id]}
		switch {
		case c.app == nil && o.must:
			return nil, errNoApp
		case c.app != nil && o.mustNot:
			return nil, errAppExists
		case c.app == nil:
			c.app = &app{id: id}
		default:
			c.old = c.app.def
		}
		var err error
		if c.new, err = update(id, c.old, fields, version, o.restart, nextPort); err != nil {
			return nil, err
		}
		c.kill = o.kill
		list = append(list, c)
	}
	return list, nil
}

func (s *Server) delete(id string, force bool) (*deployment, error) {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	s.mu.Lock()
	version := s.newVersion()
	a := s.apps[id]
	s.mu.Unlock()
	if a == nil {
		return nil, errNoApp
	}
	return s.deploy([]change{{app: a, old: a.def}}, version, nil, force)
}

// rollback cancels a deployment. Unless force is true, another one brings its
// apps back to the definitions they had.
func (s *Server) rollback(id string, force bool) (back *deployment, found bool, err error) {
	s.accepting.Lock()
	defer s.accepting.Unlock()
	s.mu.Lock()
	var d *deployment
	for _, running := range s.deployments {
		if running.id == id {
			d = running
		}
	}
	version := s.newVersion()
	s.mu.Unlock()
	if d == nil {
		return nil, false, nil
	}
	s.cancelDeployment(d)
	if force {
		return nil, true, nil
	}
	var changes []change
	for _, c := range d.changes {
		r := change{app: c.app, old: c.new}
		if c.old != nil {
			if r.new, err = revert(c, version); err != nil {
				return nil, true, err
			}
		}
		changes = append(changes, r)
	}
	back, err = s.deploy(changes, version, nil, true)
	return back, true, err
}

// revert gives the old definition of c a new version.
func revert(c change, version string) (*definition, error) {
	fields := map[string]any{}
	if c.new != nil {
		if err := json.Unmarshal(c.new.json, &fields); err != nil {
			return nil, err
		}
		for k := range fields {
			fields[k] = nil // what the old one lacks goes away
		}
	}
	if err := json.Unmarshal(c.old.json, &fields); err != nil {
		return nil, err
	}
	return update(c.app.id, defaultTo(c.new, c.old), fields, version, c.new == nil, func() int { return 0 })
}
