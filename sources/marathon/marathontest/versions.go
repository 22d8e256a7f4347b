package marathontest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// maxVersions is how many versions of an app are kept, as Marathon keeps by default.
const maxVersions = 50

// keepVersion makes a definition one that the API shows as a version of its app. The caller
// holds s.mu.
func (s *Server) keepVersion(def *definition) {
	kept := s.versions[def.ID]
	if kept == nil {
		kept = map[string]*definition{}
		s.versions[def.ID] = kept
	}
	kept[def.Version] = def
	for len(kept) > maxVersions {
		delete(kept, slices.Min(slices.Collect(maps.Keys(kept))))
	}
}

// ForgetVersions has Marathon forget all versions of an app but the present one, as it
// does with those that are too many.
func (s *Server) ForgetVersions(appID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, appID)
	if a := s.apps[appID]; a != nil {
		s.keepVersion(a.def)
	}
}

// serveVersion shows the definition of one version of an app as it is, not in an object as
// the app itself; or without a version the list of them, the newest first.
func (s *Server) serveVersion(w http.ResponseWriter, id, version string) {
	s.mu.Lock()
	kept := maps.Clone(s.versions[id])
	quirks := *s.opts.Quirks
	s.mu.Unlock()
	switch def := kept[version]; {
	case version == "" && len(kept) > 0:
		list := slices.Sorted(maps.Keys(kept))
		slices.Reverse(list)
		writeJSON(w, http.StatusOK, map[string]any{"versions": list})
	case version == "":
		noApp(w, id)
	case def == nil:
		writeJSON(w, http.StatusNotFound, message(fmt.Sprintf("App '%s' does not exist in version %s", id, version)))
	default:
		data := def.json
		if quirks.reshapes() {
			data = quirks.reshape(data)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}
}
