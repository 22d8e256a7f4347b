package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"relay/admin/api"
)

const tailPath = "/api/v1/tail"

// Tails lets people follow requests.
type Tails interface {
	// Tail begins to follow the requests of an app or domain. It returns when Envoys report
	// them, or after a moment. Unmasked, it has query strings and what looks like a token.
	// What cannot be followed is a TailRefusal.
	Tail(ctx context.Context, subject string, unmasked bool) (Tail, error)
}

// Tail is what one reader follows. It must be closed.
type Tail interface {
	// Next waits for requests, or a notice. The first is a notice; the wait for one is bounded.
	Next(context.Context) ([]api.Request, *api.Notice, error)
	Close()
}

// TailRefusal says why something cannot be followed.
type TailRefusal struct {
	// Status is that of the answer.
	Status int
	Reason string
}

// Error implements error.
func (r TailRefusal) Error() string { return r.Reason }

// tail answers /api/v1/tail?subject=shop.test until the reader goes, with a line of JSON for each
// request, or with server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func (s *Server) tail(w http.ResponseWriter, r *http.Request, q query) {
	// A page of another site could not read it, but have it run.
	sameOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.follow(w, r, q) })).ServeHTTP(w, r)
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request, q query) {
	subject, unmasked := strings.TrimSpace(q.values["subject"]), q.values["unmasked"] == "true"
	if s.cfg.Tails == nil {
		s.notFound(w, "nothing can be followed here")
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	stream := newStream(w)
	tail, err := s.cfg.Tails.Tail(ctx, subject, unmasked)
	if refusal, ok := errors.AsType[TailRefusal](err); ok {
		s.json(w, refusal.Status, map[string]string{"error": redact(refusal.Reason)})
		return
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	defer tail.Close()
	log := s.cfg.Log.With("subject", subject, "client", r.RemoteAddr, "identity", identity(r), "unmasked", unmasked)
	log.Info("requests are followed", "event", "tail_started")
	lines, began := newTailLines(w, stream, r), time.Now()
	reason := s.copyTail(ctx, tail, lines, r)
	log.Info("requests are followed no more", "event", "tail_ended", "reason", reason, "seconds", int(time.Since(began).Seconds()), "requests", lines.requests)
}

// copyTail hands on what is followed, and returns why it ends.
func (s *Server) copyTail(ctx context.Context, tail Tail, lines *tailLines, r *http.Request) (reason string) {
	end := func(text string) string {
		lines.write(nil, &api.Notice{State: api.TailEnded, Text: text})
		return text
	}
	for {
		requests, notice, err := tail.Next(ctx)
		switch {
		case s.stopping.Err() != nil:
			return end("Relay stops")
		case ctx.Err() != nil:
			return "the reader is gone"
		case err != nil:
			s.cfg.Log.Error("admin: tail", "event", "tail_failed", "error", err)
			return end("it failed: see Relay's log")
		case notice != nil && !s.cfg.Access.stillAllows(r):
			return end("it is not allowed any more: the token or certificate has changed or ended")
		}
		if !lines.write(requests, notice) {
			return "the reader does not read, or is gone"
		}
	}
}

// tailLines writes what is followed to a reader.
type tailLines struct {
	stream   stream
	events   bool
	requests int
}

func newTailLines(w http.ResponseWriter, to stream, r *http.Request) *tailLines {
	lines := &tailLines{stream: to, events: strings.Contains(r.Header.Get("Accept"), "text/event-stream")}
	kind := "application/x-ndjson"
	if lines.events {
		kind = "text/event-stream"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep lines back
	return lines
}

// write writes requests and a notice, unless that is nil, and reports whether that went.
func (l *tailLines) write(requests []api.Request, notice *api.Notice) bool {
	var body []byte
	for i := range requests {
		body = l.line(body, "request", requests[i])
	}
	if notice != nil {
		body = l.line(body, "notice", api.TailNotice{Notice: *notice})
	}
	l.requests += len(requests)
	return l.stream.send(body)
}

func (l *tailLines) line(body []byte, event string, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return body // texts and numbers can be encoded
	}
	if l.events {
		return append(append(append(body, "event: "+event+"\ndata: "...), text...), "\n\n"...)
	}
	return append(append(body, text...), '\n')
}

// identity is who a client says it is, as far as Relay knows: the name in its verified
// certificate, or the user name that came with the token, which anybody may choose.
func identity(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.VerifiedChains[0][0].Subject.String()
	}
	user, _, _ := r.BasicAuth()
	return user[:min(len(user), 100)]
}
