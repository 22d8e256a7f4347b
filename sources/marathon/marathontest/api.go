package marathontest

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// splitAppPath takes "a/b/tasks/x" apart: the app id, what is asked of it
// ("", "restart", "tasks", "versions"), and the id of the task or version.
func splitAppPath(rest string) (id, what, item string) {
	parts := strings.Split(rest, "/")
	n := len(parts)
	switch {
	case n > 1 && slices.Contains([]string{"restart", "tasks", "versions"}, parts[n-1]):
		return "/" + strings.Join(parts[:n-1], "/"), parts[n-1], ""
	case n > 2 && slices.Contains([]string{"tasks", "versions"}, parts[n-2]):
		return "/" + strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]
	}
	return "/" + rest, "", ""
}

func (s *Server) serveApps(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		s.writeList(w, r, "apps", "/")
	case http.MethodPost:
		s.serveWrite(w, r, "", options{mustNot: true, from: from(r)})
	case http.MethodPut, http.MethodPatch:
		s.serveWriteMany(w, r)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *Server) serveApp(w http.ResponseWriter, r *http.Request, rest string) {
	if rest == "*" || strings.HasSuffix(rest, "/*") {
		s.writeList(w, r, "*", "/"+strings.TrimSuffix(rest, "*"))
		return
	}
	id, what, item := splitAppPath(rest)
	switch method := r.Method; {
	case what == "tasks" && (method == http.MethodGet || method == http.MethodDelete):
		s.serveTasks(w, r, id, item)
	case what == "versions" && method == http.MethodGet:
		s.serveVersion(w, id, item)
	case what == "restart" && method == http.MethodPost:
		s.serveWrite(w, r, id, options{restart: true, must: true})
	case what != "":
		writeJSON(w, http.StatusInternalServerError, message("URI not found"))
	case method == http.MethodGet:
		if data := s.appJSON(id, embeds(r, "readiness")); data != nil {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(slices.Concat([]byte(`{"app":`), data, []byte(`}`)))
		} else {
			noApp(w, id)
		}
	case method == http.MethodPut:
		s.serveWrite(w, r, id, options{from: from(r)})
	case method == http.MethodPatch:
		s.serveWrite(w, r, id, options{must: true, from: from(r)})
	case method == http.MethodDelete:
		d, err := s.delete(id, forced(r))
		s.answer(w, id, d, false, err)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func noApp(w http.ResponseWriter, id string) {
	writeJSON(w, http.StatusNotFound, message("App '"+id+"' does not exist"))
}

func from(r *http.Request) *origin {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return &origin{host, r.URL.Path}
}

// flag reads a parameter that is true or false, in any case as Marathon does.
func flag(r *http.Request, name string) bool {
	return strings.EqualFold(r.URL.Query().Get(name), "true")
}

func forced(r *http.Request) bool { return flag(r, "force") }

// embeds tells whether what is asked for.
func embeds(r *http.Request, what ...string) bool {
	return slices.ContainsFunc(r.URL.Query()["embed"], func(e string) bool {
		return slices.Contains(what, e[strings.LastIndex(e, ".")+1:])
	})
}

// writeList answers with the apps whose ids start with prefix, and contain the
// parameter "id" in any case, in no order.
func (s *Server) writeList(w http.ResponseWriter, r *http.Request, key, prefix string) {
	part := strings.ToLower(r.URL.Query().Get("id"))
	what := show{tasks: embeds(r, "tasks", "failures") || key == "*", readiness: embeds(r, "readiness"), failure: embeds(r, "lastTaskFailure", "failures"), quirks: *s.opts.Quirks}
	s.mu.Lock()
	list := make([][][]byte, 0, len(s.apps))
	for id, a := range s.apps {
		if strings.HasPrefix(id, prefix) && strings.Contains(strings.ToLower(id), part) {
			list = append(list, a.parts(what))
		}
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, `{"`+key+`":[`)
	for i, parts := range list {
		if i > 0 {
			_, _ = io.WriteString(w, ",")
		}
		for _, part := range parts {
			_, _ = w.Write(part)
		}
	}
	_, _ = io.WriteString(w, `]}`)
}

// serveWrite creates, changes or restarts one app. Without id, as with POST,
// the body must have it and the answer is the app.
func (s *Server) serveWrite(w http.ResponseWriter, r *http.Request, id string, o options) {
	o.force = forced(r)
	fields := map[string]any{}
	if !o.restart {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			fields, err = parseFields(data)
		}
		if err == nil && id != "" && !s.exists(id) && onlyScales(fields) {
			err = errors.New("AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'")
		}
		if err != nil {
			s.answer(w, id, nil, false, err)
			return
		}
	}
	create := id == ""
	if create {
		id = absolute(text(fields["id"]))
	}
	fields["id"] = id
	d, created, err := s.put([]map[string]any{fields}, o)
	if err == nil && create {
		w.Header().Set("Location", "/v2/apps/"+id)
		w.Header().Set("Marathon-Deployment-Id", d.id)
		writeJSON(w, http.StatusCreated, s.AppJSON(id))
		return
	}
	s.answer(w, id, d, created, err)
}

func (s *Server) exists(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apps[id] != nil
}

// onlyScales reports whether a definition says nothing but what is changed of an app that exists.
// Marathon makes no app of that. Tests leave out more than Marathon lets them.
func onlyScales(fields map[string]any) bool {
	for field := range fields {
		if field != "instances" && field != "labels" {
			return false
		}
	}
	return len(fields) > 0
}

// serveWriteMany changes several apps in one deployment.
func (s *Server) serveWriteMany(w http.ResponseWriter, r *http.Request) {
	var apps []map[string]any
	if err := json.NewDecoder(r.Body).Decode(&apps); err != nil || slices.ContainsFunc(apps, func(f map[string]any) bool { return f == nil }) {
		writeJSON(w, http.StatusBadRequest, message("Invalid JSON"))
		return
	}
	d, _, err := s.put(apps, options{force: forced(r)})
	s.answer(w, "/", d, false, err)
}

// answer tells the outcome of a change.
func (s *Server) answer(w http.ResponseWriter, id string, d *deployment, created bool, err error) {
	var locked lockedError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		w.Header().Set("Marathon-Deployment-Id", d.id)
		writeJSON(w, status, map[string]string{"version": d.version, "deploymentId": d.id})
	case errors.As(err, &locked):
		body := message(locked.Error())
		var refs []map[string]string
		for _, id := range locked.deployments {
			refs = append(refs, map[string]string{"id": id})
		}
		body["deployments"] = refs
		writeJSON(w, http.StatusConflict, body)
	case errors.Is(err, errAppExists):
		writeJSON(w, http.StatusConflict, message("An app with id ["+id+"] already exists."))
	case errors.Is(err, errNoApp):
		noApp(w, id)
	case errors.As(err, &syntax) || strings.HasPrefix(err.Error(), "invalid JSON"):
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": "Invalid JSON", "details": err.Error()})
	default:
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"message": "Object is not valid", "details": err.Error()})
	}
}

// serveTasks lists or kills tasks of an app.
func (s *Server) serveTasks(w http.ResponseWriter, r *http.Request, id, taskID string) {
	s.mu.Lock()
	a := s.apps[id]
	if a == nil {
		s.mu.Unlock()
		noApp(w, id)
		return
	}
	shown := []Task{}
	var chosen []*instance
	for _, inst := range a.instances {
		if inst.current != nil && (taskID == "" || inst.current.ID == taskID) {
			shown = append(shown, inst.current.Task)
			chosen = append(chosen, inst)
		}
	}
	instances := *a.def.Instances
	s.mu.Unlock()
	if taskID != "" && len(chosen) == 0 {
		writeJSON(w, http.StatusNotFound, message("Task '"+taskID+"' does not exist"))
		return
	}
	if r.Method == http.MethodDelete {
		if flag(r, "scale") {
			d, _, err := s.put([]map[string]any{{"id": id, "instances": max(0, instances-len(chosen))}}, options{must: true, force: forced(r), kill: chosen})
			s.answer(w, id, d, false, err)
			return
		}
		s.mu.Lock()
		for _, inst := range chosen {
			s.kill(inst)
		}
		s.mu.Unlock()
	}
	if taskID != "" {
		writeJSON(w, http.StatusOK, map[string]any{"task": shown[0]})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"tasks": shown})
}

func (s *Server) serveDeployments(w http.ResponseWriter) {
	s.mu.Lock()
	list := []map[string]any{}
	for _, d := range s.deployments {
		apps := []string{}
		for _, c := range d.changes {
			apps = append(apps, c.app.id)
		}
		shown := map[string]any{
			"id": d.id, "version": d.version, "affectedApps": apps, "affectedPods": []string{}, "steps": append([]step{}, d.steps...),
			"currentActions": []action{}, "currentStep": d.step + 1, "totalSteps": len(d.steps),
		}
		if d.step < len(d.steps) {
			shown["currentActions"] = d.steps[d.step].Actions
		}
		list = append(list, shown)
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, list)
}

func (s *Server) serveRollback(w http.ResponseWriter, r *http.Request, id string) {
	d, found, err := s.rollback(id, forced(r))
	switch {
	case !found:
		writeJSON(w, http.StatusNotFound, message("Deployment "+id+" does not exist"))
	case d == nil && err == nil:
		w.WriteHeader(http.StatusAccepted)
	default:
		s.answer(w, id, d, false, err)
	}
}
