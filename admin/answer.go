package admin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
)

// minCompressed is the smallest answer that is worth compressing, in bytes.
const minCompressed = 16 << 10

// badRequest is what is wrong with a request, in words for people.
type badRequest string

// Error implements error.
func (b badRequest) Error() string { return string(b) }

// unknown says that there is no such thing.
type unknown string

// Error implements error.
func (u unknown) Error() string { return string(u) }

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch err.(type) {
	case badRequest:
		status = http.StatusBadRequest
	case unknown:
		status = http.StatusNotFound
	default:
		s.cfg.Log.Error("admin: answer", "event", "answer_failed", "error", err)
	}
	s.json(w, status, map[string]string{"error": redact(err.Error())})
}

func (s *Server) notFound(w http.ResponseWriter, reason string) { s.fail(w, unknown(reason)) }

// json answers with a value that is not asked for again.
func (s *Server) json(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		s.cfg.Log.Error("admin: encode answer", "event", "answer_failed", "error", err)
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// encode writes JSON that people can read.
func encode(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", "  ")
	return append(body, '\n'), err
}

// encoded is an answer that many may share.
type encoded struct {
	body []byte
	etag string
}

func newEncoded(body, tagged []byte) encoded {
	h := fnv.New128a()
	_, _ = h.Write(tagged)
	return encoded{body, fmt.Sprintf(`"%x"`, h.Sum(nil))}
}

// send answers with JSON, or says that what the client has is still true.
func (e encoded) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "private, no-cache") // it is asked each time whether it has changed
	h.Set("ETag", e.etag)
	h.Set("Vary", "Accept-Encoding")
	if has(r.Header.Get("If-None-Match"), e.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	body := e.body
	if len(body) >= minCompressed && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = compressed(body)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone
	}
}

// has reports whether a list of entity tags has one
// (https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2).
func has(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == etag || one == "*" {
			return true
		}
	}
	return false
}

func acceptsGzip(list string) bool {
	for one := range strings.SplitSeq(list, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(one), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			weight, weighed := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			value, err := strconv.ParseFloat(weight, 64)
			return !weighed || err == nil && value > 0
		}
	}
	return false
}

// compressed costs about 5 ms of CPU a megabyte.
func compressed(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level exists
	_, _ = w.Write(body)                            // to memory
	_ = w.Close()
	return b.Bytes()
}
