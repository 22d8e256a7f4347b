package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"relay/xds"
)

// api adds the JSON routes. Each answers with an object that has one list, so
// that something can be added later.
func (s *Server) api(mux *http.ServeMux) {
	list := func(name string, get func() any) {
		mux.HandleFunc("GET /api/v1/"+name, func(w http.ResponseWriter, _ *http.Request) {
			s.json(w, http.StatusOK, map[string]any{name: get()})
		})
	}
	list("apps", func() any { return orEmpty(s.cfg.Views.Apps()) })
	list("certificates", func() any { return orEmpty(s.cfg.Views.Certificates()) })
	list("fleets", func() any { return s.fleets() })
	mux.HandleFunc("GET /api/v1/problems", s.problemsJSON)
	list("sources", func() any { return s.sources() })
	list("uncovered", func() any {
		domains, known := s.cfg.Views.Uncovered()
		if !known {
			return nil
		}
		return orEmpty(domains)
	})
	mux.HandleFunc("GET /api/v1/apps/{id...}", s.app)
	mux.HandleFunc("GET /api/v1/explain", s.explain)
	// Without its own pattern /api would be answered by a redirect.
	for _, rest := range []string{"GET /api", "GET /api/"} {
		mux.HandleFunc(rest, func(w http.ResponseWriter, r *http.Request) {
			s.notFound(w, fmt.Sprintf("nothing at %s: there are /api/v1/apps, certificates, explain, fleets, problems, sources and uncovered", r.URL.Path))
		})
	}
}

// app answers /api/v1/apps/shop/web with the app "/shop/web".
func (s *Server) app(w http.ResponseWriter, r *http.Request) {
	id := "/" + strings.Trim(r.PathValue("id"), "/")
	app, ok := s.cfg.Views.App(id)
	if !ok {
		s.notFound(w, fmt.Sprintf("no app %q", id))
		return
	}
	s.json(w, http.StatusOK, app)
}

func (s *Server) notFound(w http.ResponseWriter, reason string) {
	s.json(w, http.StatusNotFound, map[string]string{"error": reason})
}

func (s *Server) json(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.cfg.Log.Error("admin: encode answer", "event", "answer_failed", "error", err)
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

// orEmpty makes JSON show a list without items as [], not as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) sources() []SourceView {
	list := orEmpty(slices.Clone(s.cfg.Views.Sources()))
	for i := range list {
		list[i].Name = redact(list[i].Name)
		list[i].LastError = redact(list[i].LastError)
	}
	return list
}

func (s *Server) fleets() []FleetView {
	fleets := orEmpty(slices.Clone(s.cfg.Views.Fleets()))
	for i := range fleets {
		envoys := orEmpty(slices.Clone(fleets[i].Envoys))
		for j := range envoys {
			envoys[j].Types = redactTypes(envoys[j].Types)
		}
		fleets[i].Envoys = envoys
	}
	return fleets
}

func redactTypes(types []xds.TypeStatus) []xds.TypeStatus {
	types = slices.Clone(types)
	for i := range types {
		stale := slices.Clone(types[i].Stale)
		for j := range stale {
			stale[j].Message = redact(stale[j].Message)
		}
		types[i].Stale = stale
	}
	return types
}
