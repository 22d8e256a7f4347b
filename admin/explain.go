package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// maxSubject is longer than any domain or app id that Marathon accepts in
// practice: the subject is compared with all names.
const maxSubject = 1024

// explain answers /api/v1/explain?subject=shop.test: with 404 when nothing is
// known of the subject, and what is near it.
func (s *Server) explain(w http.ResponseWriter, _ *http.Request, q query) {
	subject := strings.TrimSpace(q.values["subject"])
	answer, known := s.cfg.Views.Explain(subject)
	redacted, err := redactAll(answer)
	if err != nil {
		s.fail(w, err)
		return
	}
	status := http.StatusOK
	if !known {
		status = http.StatusNotFound
	}
	s.json(w, status, redacted)
}

// redactAll returns what a value is in JSON, each text in it redacted.
func redactAll(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, err
	}
	return redactDecoded(decoded), nil
}

func redactDecoded(v any) any {
	switch v := v.(type) {
	case string:
		return redact(v)
	case []any:
		for i := range v {
			v[i] = redactDecoded(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = redactDecoded(v[key])
		}
	}
	return v
}
