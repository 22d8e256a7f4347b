// Package peers is what the Relays of the same Envoys tell each other of the use of apps. Each Envoy
// reports to one of them. So none knows alone whether an app is idle, or how much it has to do.
//
// They ask each other at their admin endpoints. A Relay asks right before it puts an app to sleep, and
// all the time for the load of apps that are sized by it. A Relay that cannot be asked may know of
// requests that nobody else does: then nothing sleeps and nothing gets smaller.
package peers

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"relay/internal/problem"
)

const (
	// timeout is how long an answer may take.
	timeout = time.Second
	// often is how long after an answer the next question comes while an answer is needed, and seldom
	// while none is but to know that there would be one.
	often, seldom = time.Second, 10 * time.Second
	// fresh is how old an answer may be that counts.
	fresh = often + timeout + time.Second
	// trouble is for how long a peer must not have answered until people are told.
	trouble = 5 * time.Second
)

// Config says who the peers are.
type Config struct {
	// URLs are their admin endpoints. This Relay may be among them.
	URLs []string
	// TokenFile holds the token that lets this Relay in, unless it is empty. It is read again for each
	// question.
	TokenFile string
	// TLS is for https URLs; nil is the default.
	TLS *tls.Config
}

// Local is what this Relay knows. Its methods return at once.
type Local interface {
	// Report says what is known of an app that a peer is about to put to sleep.
	Report(app string) Report
	// Loads are reports of all apps that are sized by load.
	Loads() []Report
	// Reporting returns which of some Envoys report to this Relay.
	Reporting(envoys []Envoy) []Envoy
	// Missing returns the Envoys that may have requests in progress and do not report to this Relay.
	Missing() []Envoy
}

// Peers asks the others, and answers them.
type Peers struct {
	// Deployments are those of this Relay; nil if it has none. It is set before the first call.
	Deployments Deployments
	// Slots are those that this Relay gives; nil if it gives none. It is set before the first call.
	Slots Slots

	config   Config
	local    Local
	log      *slog.Logger
	client   *http.Client
	instance string

	mu    sync.Mutex
	peers []*peer
	// rounds are those that wait, and asking is set while one is under way.
	rounds []*round
	asking bool
}

// peer is another Relay, or this one, as far as is known.
type peer struct {
	url  *url.URL
	name string // for people
	// instance is that of its last answer.
	instance string
	// at is when it last answered a question of poll, and what.
	at      time.Time
	reports map[string]Report
	envoys  map[Envoy]bool
	// precedence says whether it counts when slots differ, and heard when it last answered any question.
	precedence precedence
	heard      time.Time
	// failure is why the last question was not answered, and failing since when none was.
	failure error
	failing time.Time
	told    bool // of the failure
}

// New returns the peers of a configuration, whose URLs must be good.
func New(config Config, local Local, log *slog.Logger) *Peers {
	p := &Peers{config: config, local: local, log: log, instance: rand.Text()}
	p.client = &http.Client{
		// Without a proxy: these are neighbours.
		Transport: &http.Transport{TLSClientConfig: config.TLS, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second},
		// A token is for the endpoint alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, text := range config.URLs {
		if u, err := url.Parse(text); err == nil {
			u.User = nil
			p.peers = append(p.peers, &peer{url: u, name: u.Scheme + "://" + u.Host, failing: time.Now()})
		}
	}
	return p
}

// Answer answers a peer.
func (p *Peers) Answer(q Question) Answer {
	a := Answer{Version: version, Instance: p.instance, Reports: []Report{}, Envoys: []Envoy{}}
	for _, app := range q.Apps {
		r := p.local.Report(app)
		r.App = app
		a.Reports = append(a.Reports, r)
	}
	if q.Loads {
		a.Reports = append(a.Reports, p.local.Loads()...)
	}
	a.Reports = a.Reports[:min(len(a.Reports), maxReports)]
	if len(q.Envoys) > 0 {
		a.Envoys = append(a.Envoys, p.local.Reporting(q.Envoys)...)
	}
	p.addDeployments(&a, q)
	p.addSlots(&a, q)
	return a
}

// Last returns what the peers have said of the load of an app in the last seconds, and whether each of
// them has.
func (p *Peers) Last(app string) (reports []Report, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all = true
	for _, peer := range p.others() {
		r, ok := peer.reports[app]
		if !ok || time.Since(peer.at) > fresh {
			all = false
			continue
		}
		reports = append(reports, r)
	}
	return reports, all
}

// Elsewhere reports whether an Envoy reports to one of the peers.
func (p *Peers) Elsewhere(e Envoy) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.others(), func(peer *peer) bool {
		return peer.envoys[e] && time.Since(peer.at) <= fresh
	})
}

// others are the peers that are not this Relay, each once. The mutex is held.
func (p *Peers) others() (others []*peer) {
	seen := map[string]bool{p.instance: true}
	for _, peer := range p.peers {
		if peer.instance == "" || !seen[peer.instance] {
			others = append(others, peer)
			seen[peer.instance] = true
		}
	}
	return others
}

// Problems returns the peers that cannot be asked.
func (p *Peers) Problems() (all []problem.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.peers {
		if peer.failure == nil || time.Since(peer.failing) < trouble {
			continue
		}
		all = append(all, problem.Problem{
			Kind: problem.Source, Subject: "peers", Item: peer.name, Severity: problem.Ignored,
			Reason: "the Relay at " + peer.name + " cannot be asked who uses apps: " + peer.failure.Error() + ". Until it can, no app is put to sleep, and none gets fewer instances",
			Action: "see whether it runs, and whether --peers-token-file and --peers-ca-file are right for it, or take it out of --peers",
		})
	}
	slices.SortFunc(all, func(a, b problem.Problem) int { return cmp.Compare(a.Item, b.Item) })
	return all
}
