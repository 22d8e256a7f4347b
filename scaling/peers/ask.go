package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"relay/internal/files"
	"relay/internal/panics"
)

// round is a question to all peers, of the apps for which somebody asked while the round before was
// under way.
type round struct {
	apps       []string
	characters int
	// done is closed when reports, by app, and err are there.
	done    chan struct{}
	reports map[string][]Report
	err     error
}

// Reports asks all peers for their report of an app. The error says who could not be asked; what the
// others said is returned all the same. Many apps at a time take few questions.
func (p *Peers) Reports(ctx context.Context, app string) ([]Report, error) {
	p.mu.Lock()
	r := p.roundFor(app)
	if !p.asking {
		p.asking = true
		go p.ask()
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return slices.Clone(r.reports[app]), r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// roundFor returns the round that asks for an app. None that has begun will do: what is answered must
// be newer than the question.
func (p *Peers) roundFor(app string) *round {
	for _, r := range p.rounds {
		if slices.Contains(r.apps, app) {
			return r
		}
	}
	if n := len(p.rounds); n == 0 || !fits(p.rounds[n-1].characters, len(p.rounds[n-1].apps), app) {
		p.rounds = append(p.rounds, &round{done: make(chan struct{})})
	}
	r := p.rounds[len(p.rounds)-1]
	r.apps = append(r.apps, app)
	r.characters += len(url.QueryEscape(app)) + 1
	return r
}

// ask plays rounds until there are none.
func (p *Peers) ask() {
	for {
		p.mu.Lock()
		if len(p.rounds) == 0 {
			p.asking = false
			p.mu.Unlock()
			return
		}
		r := p.rounds[0]
		p.rounds = p.rounds[1:]
		peers := p.others() // who asks itself would take that for another Relay which wants to know
		p.mu.Unlock()
		r.err = panics.Catch(func() error { return p.play(r, peers) })
		close(r.done)
	}
}

// play asks all peers at once.
func (p *Peers) play(r *round, peers []*peer) error {
	answers, errs := make([]Answer, len(peers)), make([]error, len(peers))
	var all sync.WaitGroup
	for i, peer := range peers {
		all.Go(func() {
			errs[i] = panics.Catch(func() (err error) {
				answers[i], err = p.question(context.Background(), peer, Question{Apps: r.apps})
				return err
			})
		})
	}
	all.Wait()
	r.reports = make(map[string][]Report)
	heard := map[string]bool{p.instance: true}
	for i, a := range answers {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s cannot be asked: %w", peers[i].name, errs[i])
			continue
		}
		if heard[a.Instance] {
			continue
		}
		heard[a.Instance] = true
		said := make(map[string]Report)
		for _, report := range a.Reports {
			report.Peer = peers[i].name
			said[report.App] = report
		}
		for _, app := range r.apps {
			if report, ok := said[app]; ok {
				r.reports[app] = append(r.reports[app], report)
			} else {
				errs[i] = fmt.Errorf("%s says nothing of %s", peers[i].name, app)
			}
		}
	}
	return errors.Join(errs...)
}

// Serve asks the peers for the load of apps and for Envoys that are missing here, until the context
// ends.
func (p *Peers) Serve(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	var all sync.WaitGroup
	for _, peer := range p.peers {
		all.Go(func() { p.follow(ctx, peer) })
	}
	all.Wait()
	<-ctx.Done()
	return ctx.Err()
}

// follow asks one peer again and again.
func (p *Peers) follow(ctx context.Context, peer *peer) {
	next := time.Now()
	for ctx.Err() == nil {
		if !time.Now().Before(next) || p.digests(peer) != nil {
			wait := often
			if err := panics.Catch(func() error { wait = p.poll(ctx, peer); return nil }); err != nil {
				p.log.Error("a bug in asking a peer", "event", "peer_panicked", "peer", peer.name, "error", err)
			}
			next = time.Now().Add(wait)
		}
		select {
		case <-ctx.Done():
		case <-time.After(often):
		}
	}
}

// poll asks once, and says when to ask again.
func (p *Peers) poll(ctx context.Context, peer *peer) time.Duration {
	q := Question{Loads: len(p.local.Loads()) > 0, Slots: p.digests(peer)}
	characters := 0
	for _, e := range p.local.Missing() {
		if name := url.QueryEscape(e.Fleet) + "/" + e.ID; fits(characters, len(q.Envoys), name) {
			q.Envoys = append(q.Envoys, e)
			characters += len(url.QueryEscape(name)) + 1
		}
	}
	a, err := p.question(ctx, peer, q)
	if ctx.Err() != nil {
		return 0
	}
	p.learn(a)
	if err == nil && len(q.Slots) > 0 {
		p.compare(peer, a)
	}
	moving := p.moving()
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := seldom
	if q.Loads || moving || len(q.Slots) > 0 || len(q.Envoys) > 0 || err != nil {
		wait = often
	}
	if err != nil {
		return wait
	}
	peer.at, peer.reports, peer.envoys = time.Now(), make(map[string]Report), make(map[Envoy]bool)
	for _, r := range a.Reports {
		r.Peer = peer.name
		peer.reports[r.App] = r
	}
	for _, e := range a.Envoys {
		peer.envoys[e] = true
	}
	return wait
}

// question asks a peer, and notes whether it answered.
func (p *Peers) question(ctx context.Context, peer *peer, q Question) (Answer, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a, err := p.get(limited, peer, q)
	if err != nil && limited.Err() != nil {
		err = awayError{fmt.Errorf("no answer within %v", timeout)}
	}
	if ctx.Err() == nil {
		p.note(peer, a, err)
	}
	return a, err
}

// note takes over whether a peer answered.
func (p *Peers) note(peer *peer, a Answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if peer.told {
			p.log.Info("a peer answers again", "event", "peer_back", "peer", peer.name)
		}
		if peer.instance != a.Instance {
			peer.precedence.silent = nil
		}
		peer.precedence.instance, peer.precedence.began = a.Instance, a.Began
		peer.instance, peer.heard, peer.failure, peer.told = a.Instance, time.Now(), nil, false
		return
	}
	now := time.Now()
	if peer.failure == nil {
		peer.failing = now
	}
	peer.failure = err
	if !peer.told && now.Sub(peer.failing) >= trouble {
		peer.told = true
		p.log.Warn("a peer cannot be asked: no app is put to sleep, and none gets fewer instances", "event", "peer_unreachable", "peer", peer.name, "error", err)
	}
}

// get asks a peer. Its errors have nothing secret.
func (p *Peers) get(ctx context.Context, peer *peer, q Question) (Answer, error) {
	u := peer.url.JoinPath("api/v1/peer")
	u.RawQuery = q.query().Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Answer{}, errors.New("its address is no URL")
	}
	if p.config.TokenFile != "" {
		token, err := files.Secret(p.config.TokenFile)
		if err != nil {
			return Answer{}, fmt.Errorf("--peers-token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return Answer{}, noAnswer(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("its answer broke off: %w", err)
	case resp.StatusCode != http.StatusOK:
		return Answer{}, refused(resp.StatusCode)
	}
	a, err := decode(body)
	if err != nil {
		return Answer{}, fmt.Errorf("its answer is no use: %w", err)
	}
	return a, nil
}

// refused says what an answer without content means.
func refused(status int) error {
	meaning := "is it the admin endpoint of a Relay?"
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		meaning = "it does not let this Relay in"
	case http.StatusNotFound:
		meaning = "it runs without --scaling, is older than this Relay, or the address is wrong"
	case http.StatusServiceUnavailable:
		meaning = "it has too many requests"
	}
	return fmt.Errorf("it answers %d: %s", status, meaning)
}
