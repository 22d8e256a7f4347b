// Package guard protects Relay's own ports. It bounds the connections that are idle. It logs
// which clients were refused, why, and what to do: once, and not at each retry.
package guard

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// Kind is what a client is refused for. There are few, for metrics.
type Kind string

// What clients are refused for.
const (
	Plaintext     Kind = "plaintext"      // no TLS on a TLS port
	TLS           Kind = "tls"            // TLS on a port in plain text
	Protocol      Kind = "protocol"       // TLS or HTTP that Relay does not speak
	NoCertificate Kind = "no_certificate" // no client certificate
	Authority     Kind = "authority"      // a client certificate of another authority
	Expired       Kind = "expired"        // an expired client certificate, or one not valid yet
	Certificate   Kind = "certificate"    // a client certificate that is wrong otherwise
	Distrusted    Kind = "distrusted"     // the client does not accept Relay's certificate
	Silent        Kind = "silent"         // nothing, or too little, in time
	Stalled       Kind = "stalled"        // it does not read or answer what it is sent
	TooMany       Kind = "crowd"          // too many connections
	Fleet         Kind = "fleet"          // a fleet that there is not
	Access        Kind = "access"         // not for this client
	Token         Kind = "token"          // a wrong token
	Type          Kind = "type"           // resources of a type that Relay does not serve
	Request       Kind = "request"        // a request that is malformed or too large
	Outdated      Kind = "outdated"       // it has something newer than Relay
)

// Kinds returns all of them.
func Kinds() []Kind {
	return []Kind{
		Plaintext, TLS, Protocol, NoCertificate, Authority, Expired, Certificate, Distrusted,
		Silent, Stalled, TooMany, Fleet, Access, Token, Type, Request, Outdated,
	}
}

const (
	// interval is how long a refusal is not logged again: a client may try for weeks, several
	// times a second.
	interval = time.Hour
	// maxLogged is how many refusals are told apart. It bounds memory, and what clients can
	// write to the log in an interval.
	maxLogged = 1000
)

// Refusal says why a client was refused.
type Refusal struct {
	Kind Kind
	// Who is what the client calls itself. It tells the client from others of the same host.
	Who string
	// Reason is why, and what to do. It may be another one at each try.
	Reason string
}

// Log logs refusals: one line an hour for each host, Kind and Who, however often the client tries.
type Log struct {
	log   *slog.Logger
	count func(Kind)

	mu    sync.Mutex
	tries map[cause]*tries
	// recent are the latest, the last one last: no more than maxRecent.
	recent []Refused
}

// cause is what one line in the log is about.
type cause struct {
	kind      Kind
	host, who string
}

// tries are those of one client.
type tries struct {
	logged time.Time // when the last line was
	since  int       // how many came after that
}

// NewLog returns a Log. Unless nil, count is called for every refusal, once it is logged.
func NewLog(logger *slog.Logger, count func(Kind)) *Log {
	return &Log{log: logger, count: count, tries: make(map[cause]*tries)}
}

// Refuse logs a refusal of the client at a remote address ("host:port").
func (l *Log) Refuse(remote string, r Refusal, attrs ...any) {
	if l.count != nil {
		defer l.count(r.Kind)
	}
	host := hostOf(remote)
	now := time.Now()
	tried, due, full := l.note(cause{r.Kind, host, r.Who}, now)
	l.mu.Lock()
	l.remember(host, r, now)
	l.mu.Unlock()
	switch {
	case !due:
		return
	case full:
		l.log.Warn("clients refused: too many to name each", "event", "clients_refused", "last", host, "tries", tried)
		return
	}
	if tried > 1 {
		attrs = append(attrs, "tries", tried)
	}
	l.log.Warn("client refused", append([]any{"event", "client_refused", "address", host, "reason", r.Reason}, attrs...)...)
}

// Recent reports whether a client was refused so within the last hour.
func (l *Log) Recent(remote string, kind Kind, who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tries[cause{kind, hostOf(remote), who}]
	return t != nil && time.Since(t.logged) < interval
}

// note returns how often the client tried since the last line, and whether a line is due. Full
// tells that there are too many clients to tell this one from others.
func (l *Log) note(c cause, now time.Time) (tried int, due, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tries[c]
	if t == nil && len(l.tries) >= maxLogged {
		l.forget(now)
		if full = len(l.tries) >= maxLogged; full {
			c = cause{}
			t = l.tries[c]
		}
	}
	if t == nil {
		t = &tries{}
		l.tries[c] = t
	}
	t.since++
	if !t.logged.IsZero() && now.Sub(t.logged) < interval {
		return 0, false, full
	}
	tried, t.since, t.logged = t.since, 0, now
	return tried, true, full
}

// forget drops clients for which a line would be due anyway.
func (l *Log) forget(now time.Time) {
	for c, t := range l.tries {
		if now.Sub(t.logged) >= interval {
			delete(l.tries, c)
		}
	}
}

func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}
