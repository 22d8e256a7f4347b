package marathontest

import (
	"encoding/json"
	"net/http"
	"slices"
)

// serveKill is POST /v2/tasks/delete: it kills the tasks that the body names, of any apps. With
// scale=true the apps have so many instances less after it. Ids of no task are ignored.
func (s *Server) serveKill(w http.ResponseWriter, r *http.Request) {
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": "Invalid JSON", "details": err.Error()})
		return
	}
	if !flag(r, "scale") {
		s.mu.Lock()
		killed := []Task{}
		for _, id := range body.IDs {
			if inst := s.instances[id]; inst != nil {
				killed = append(killed, inst.current.Task)
				s.kill(inst)
			}
		}
		s.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"tasks": killed})
		return
	}
	s.accepting.Lock() // the difference is that to what the apps have now
	var apps []map[string]any
	var chosen []*instance
	s.mu.Lock()
	for _, a := range s.apps {
		of := slices.DeleteFunc(slices.Clone(a.instances), func(i *instance) bool {
			return i.stop || i.current == nil || !slices.Contains(body.IDs, i.current.ID)
		})
		if len(of) > 0 {
			chosen = append(chosen, of...)
			apps = append(apps, map[string]any{"id": a.id, "instances": max(0, *a.def.Instances-len(of))})
		}
	}
	s.mu.Unlock()
	d, _, err := s.putLocked(apps, options{must: true, force: forced(r), kill: chosen})
	s.accepting.Unlock()
	s.answer(w, "/", d, false, err)
}
