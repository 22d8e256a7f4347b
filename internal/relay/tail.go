package relay

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/collator"
	"relay/collator/explain"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/traffic"
	"relay/xds"
)

const (
	// tailPatience is how long who begins to follow waits for Envoys to report.
	tailPatience = 2 * time.Second
	// noticeEvery is how often a reader gets a notice: so Relay finds out who is gone.
	noticeEvery = 15 * time.Second
	// maxWaiting is how many Envoys a notice names, and maxTailKeys how many scopes of each
	// fleet are looked at.
	maxWaiting, maxTailKeys = 5, 200
)

// tails has Envoys report the requests that somebody follows, for as long as somebody does.
type tails struct {
	relay    *Relay
	requests *traffic.Tails
	mu       sync.Mutex
	readers  map[string]int // by subject
}

func newTails(r *Relay) *tails {
	return &tails{relay: r, requests: traffic.NewTails(), readers: make(map[string]int)}
}

// use notes one reader more or less. The first and the last one switch what Envoys report.
func (t *tails) use(subject string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.readers[subject]
	t.readers[subject] += n
	switch after := t.readers[subject]; {
	case before == 0:
		t.relay.collator.Tail(subject, true)
	case after == 0:
		delete(t.readers, subject)
		t.relay.collator.Tail(subject, false)
	}
}

// Tail implements admin.Tails.
func (t *tails) Tail(ctx context.Context, asked string, unmasked bool) (admin.Tail, error) {
	if reasons := t.relay.NotReady(); !t.relay.collator.AppsSynced() {
		return nil, admin.TailRefusal{Status: http.StatusServiceUnavailable, Reason: "not yet: " + strings.Join(reasons, "; ")}
	}
	subject := t.subject(asked)
	reader, err := t.requests.Open(t.wants(subject), unmasked)
	if err != nil {
		return nil, admin.TailRefusal{Status: http.StatusServiceUnavailable, Reason: err.Error()}
	}
	t.use(subject, 1)
	one := &tail{tails: t, subject: subject, reader: reader}
	if err := t.relay.collator.Flush(ctx); err != nil {
		one.Close()
		return nil, fmt.Errorf("tail of %s: %w", subject, err)
	}
	if reason := t.refusal(subject); reason != nil {
		one.Close()
		return nil, reason
	}
	one.waitForEnvoys(ctx)
	return one, nil
}

// subject is the id of an app, or a host in lower case.
func (t *tails) subject(asked string) string {
	if _, ok := t.relay.collator.App("/" + strings.Trim(asked, "/")); ok {
		return "/" + strings.Trim(asked, "/")
	}
	if strings.HasPrefix(asked, "/") {
		return "/" + strings.Trim(asked, "/")
	}
	return strings.TrimSuffix(strings.ToLower(asked), ".")
}

// refusal says why a subject cannot be followed; nil if it can.
func (t *tails) refusal(subject string) error {
	tailing := t.relay.collator.Tailing(subject)
	switch {
	case tailing.Known && len(tailing.Scopes) > 0:
		return nil
	case tailing.TooMany > 0:
		return admin.TailRefusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf(
			"%s has %d domains, and an app with more than %d is not followed, as that would keep Envoys busy: follow one of its domains", subject, tailing.TooMany, collator.MaxTailed)}
	case tailing.Known, strings.HasPrefix(subject, "tcp/"):
		return admin.TailRefusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf(
			"%s has no domain in a fleet of this Relay, so it has no requests to follow. TCP services are not followed: to switch it on would close their connections", subject)}
	}
	reason := fmt.Sprintf("nothing is known of %q", subject)
	answer, _ := t.relay.Explain(subject)
	if e, ok := answer.(explain.Explanation); ok && len(e.Near) > 0 {
		reason += "; near it: " + strings.Join(e.Near, ", ")
	}
	return admin.TailRefusal{Status: http.StatusNotFound, Reason: reason}
}

// wants returns which requests are those of a subject. Envoys report what others follow, too,
// and what other apps answer of a share.
func (t *tails) wants(subject string) func(*traffic.Request) bool {
	if !strings.HasPrefix(subject, "/") {
		return func(q *traffic.Request) bool { return q.Scope == subject || q.Host == subject }
	}
	return func(q *traffic.Request) bool {
		app, _ := routing.SplitClusterName(q.Cluster)
		return app != "" && app == t.relay.collator.Tailing(subject).Routed
	}
}

// tail is what one reader follows.
type tail struct {
	tails   *tails
	subject string
	reader  *traffic.Reader
	// due is when the next notice is.
	due     time.Time
	skipped uint64
	closed  sync.Once
}

// Close implements admin.Tail.
func (t *tail) Close() {
	t.closed.Do(func() {
		t.reader.Close()
		t.tails.use(t.subject, -1)
	})
}

// waitForEnvoys waits until all Envoys have the scopes with which they report.
func (t *tail) waitForEnvoys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tailPatience)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if _, waiting := t.envoys(); len(waiting) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// envoys counts those that report, and names those that do not yet.
func (t *tail) envoys() (reporting int, waiting []string) {
	for fleet, scopes := range t.tails.relay.collator.Tailing(t.subject).Scopes {
		keys := make([]xds.Key, 0, min(len(scopes), maxTailKeys))
		for _, scope := range scopes[:min(len(scopes), maxTailKeys)] {
			keys = append(keys, xds.Key{Type: xds.Scope, Name: scope})
		}
		for _, envoy := range t.tails.relay.xds.Progress(fleet, keys) {
			if slices.ContainsFunc(envoy.Resources, func(p xds.ResourceProgress) bool { return p.Progress != xds.Acknowledged }) {
				waiting = append(waiting, fleet+"/"+envoy.NodeID)
			} else {
				reporting++
			}
		}
	}
	return reporting, waiting
}

// Next implements admin.Tail.
func (t *tail) Next(ctx context.Context) ([]api.Request, *api.Notice, error) {
	now := time.Now()
	if !now.Before(t.due) {
		return nil, t.notice(now), nil
	}
	bounded, cancel := context.WithDeadline(ctx, t.due)
	defer cancel()
	requests, skipped, err := t.reader.Next(bounded)
	if err != nil {
		return nil, t.notice(time.Now()), ctx.Err()
	}
	if t.skipped += skipped; skipped > 0 {
		t.due = now.Add(min(time.Until(t.due), time.Second))
	}
	lines := make([]api.Request, len(requests))
	for i, q := range requests {
		lines[i] = line(q)
	}
	return lines, nil, nil
}

// notice says how it goes.
func (t *tail) notice(now time.Time) *api.Notice {
	reporting, waiting := t.envoys()
	n := &api.Notice{State: api.TailOn, Envoys: reporting, Waiting: waiting[:min(len(waiting), maxWaiting)], Skipped: t.skipped}
	tailing := t.tails.relay.collator.Tailing(t.subject)
	t.due, t.skipped = now.Add(noticeEvery), 0
	switch {
	case !tailing.Known:
		n.State, n.Text = api.TailWaiting, t.subject+" is not there any more: it is followed again when it comes back"
	case tailing.TooMany > 0:
		n.State, n.Text = api.TailWaiting, fmt.Sprintf("%s has more than %d domains now: follow one of them", t.subject, collator.MaxTailed)
	case len(waiting) > 0:
		n.State, t.due = api.TailWaiting, now.Add(time.Second)
		n.Text = fmt.Sprintf("%s the requests of %s, and %d do not yet: %s", envoysReport(reporting), t.subject, len(waiting), strings.Join(n.Waiting, ", "))
	case reporting == 0:
		n.State, n.Text = api.TailWaiting, "no Envoy is connected that serves "+t.subject
	default:
		n.Text = envoysReport(reporting) + " the requests of " + t.subject + " when they end" + t.tcpToo(tailing)
	}
	return n
}

func envoysReport(n int) string {
	if n == 1 {
		return "1 Envoy reports"
	}
	return fmt.Sprintf("%d Envoys report", n)
}

// tcpToo says that an app has services that are not followed.
func (t *tail) tcpToo(tailing collator.Tailing) string {
	app, ok := t.tails.relay.collator.App(t.subject)
	if tailing.Routed != "" && ok && app.Routed != nil && slices.ContainsFunc(app.Routed.Ports, routing.IsTCP) {
		return "; its TCP services are not followed"
	}
	return ""
}

func line(q traffic.Request) api.Request {
	app, port := "", 0
	if q.Cluster != "" {
		app, port = routing.SplitClusterName(q.Cluster)
	}
	domain := q.Host
	if _, wildcard := hostname.CutWildcard(q.Scope); !wildcard && q.Scope != "" {
		domain = q.Scope
	}
	return api.Request{
		Time: q.Time, Fleet: q.Fleet, Envoy: q.Envoy, App: app, Port: port, Domain: domain, Client: q.Client, Method: q.Method, Path: q.Path,
		Status: q.Status, Code: q.Code, Duration: q.Duration.Seconds(), BytesIn: q.BytesIn, BytesOut: q.BytesOut,
		Instance: q.Instance, RequestID: q.RequestID, UserAgent: q.UserAgent,
	}
}
