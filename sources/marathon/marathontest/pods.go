package marathontest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
)

// SetPod adds or replaces a pod, given as its status, without an event. It is
// shown as given; there are no real tasks behind it, and no deployments.
func (s *Server) SetPod(status string) error {
	var pod struct {
		ID   string          `json:"id"`
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal([]byte(status), &pod); err != nil || pod.ID == "" || len(pod.Spec) == 0 {
		return fmt.Errorf("marathontest: a pod status needs an id and a spec: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[pod.ID] = podJSON{status: []byte(status), spec: pod.Spec}
	return nil
}

// RemovePod removes a pod without an event.
func (s *Server) RemovePod(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, id)
}

// ApplyPod is SetPod with the events of POST /v2/pods or PUT /v2/pods/{id}.
func (s *Server) ApplyPod(status string) error {
	var pod struct{ ID string }
	_ = json.Unmarshal([]byte(status), &pod)
	s.mu.Lock()
	_, known := s.pods[pod.ID]
	s.mu.Unlock()
	if err := s.SetPod(status); err != nil {
		return err
	}
	if known {
		s.publishPod("pod_updated_event", "/v2/pods"+pod.ID, pod.ID)
	} else {
		s.publishPod("pod_created_event", "/v2/pods", pod.ID)
	}
	return nil
}

// DeletePod is RemovePod with the events of DELETE /v2/pods/{id}.
func (s *Server) DeletePod(id string) {
	s.RemovePod(id)
	s.publishPod("pod_deleted_event", "/v2/pods"+id, id)
	s.Publish("app_terminated_event", map[string]any{"appId": id})
}

func (s *Server) publishPod(event, uri, id string) {
	s.Publish(event, map[string]any{"clientIp": "127.0.0.1", "uri": uri})
	s.Publish("group_change_success", map[string]any{"groupId": path.Dir(id), "version": "2024-05-01T10:00:00.000Z"})
}

type podJSON struct{ status, spec []byte }

func (s *Server) servePods(w http.ResponseWriter, r *http.Request, rest string) {
	if s.opts.Quirks.NoPods {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	id, isStatus := strings.CutSuffix(rest, "::status")
	id = "/" + strings.Trim(id, "/")
	s.mu.Lock()
	var list [][]byte
	for known, p := range s.pods {
		switch {
		case id != "/" && known != id:
		case isStatus:
			list = append(list, p.status)
		default:
			list = append(list, p.spec)
		}
	}
	s.mu.Unlock()
	if id != "/" {
		if len(list) == 0 {
			writeJSON(w, http.StatusNotFound, message("Pod '"+id+"' does not exist"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(list[0])
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "[")
	for i, pod := range list {
		if i > 0 {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = w.Write(pod)
	}
	_, _ = io.WriteString(w, "]")
}
