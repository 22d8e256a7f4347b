package compare

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// asks is how often each side is asked the same: what differs with itself does not count.
	asks = 2
	// moreAsks follow if bodies differ, as instances may have different ones.
	moreAsks = 2
	// giveUpAfter is how many requests in a row may have no answer from any side asked.
	giveUpAfter = 20
	// progressEvery is the time between two lines of progress.
	progressEvery = 5 * time.Second
)

// question is one that is asked of both sides.
type question struct {
	probe
	secure bool
}

// asker asks, and counts what comes of it.
type asker struct {
	Asking
	sides *Sides
	r     *Report
	t     *Tally
	// plain and secured are the sides by HTTP and HTTPS: the old one, and the new one or nil.
	plain, secured [2]*side

	mu         sync.Mutex
	done       int
	unanswered int // in a row
	stop       context.CancelFunc
}

// Ask asks the running marathon-lb what it has, and both sides for what the rules have. It
// ends early, with what is known by then, when ctx does.
func (s *Sides) Ask(ctx context.Context, r *Report, asking Asking) {
	if asking.askAdmin {
		s.compareRunning(ctx, r, &asking)
	}
	if asking.old == nil && asking.oldHTTPS == nil {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a := &asker{Asking: asking, sides: s, r: r, t: r.tally(Requests, s.relay.fleet.Name), stop: stop}
	old, new := rate.NewLimiter(rate.Limit(a.Rate), 1), rate.NewLimiter(rate.Limit(a.Rate), 1)
	for _, one := range []struct {
		u       *url.URL
		limiter *rate.Limiter
		to      **side
	}{{a.old, old, &a.plain[0]}, {a.new, new, &a.plain[1]}, {a.oldHTTPS, old, &a.secured[0]}, {a.newHTTPS, new, &a.secured[1]}} {
		if one.u == nil {
			continue
		}
		*one.to = newSide(one.u, one.limiter, a.Timeout)
		if err := reach(ctx, one.u.Host, a.Timeout); err != "" {
			a.t.NotDone, a.t.Failed = fmt.Sprintf("%s: %s", one.u.Host, err), true
			return
		}
	}
	a.askAll(ctx, a.questions())
	if a.plain[0] != nil && a.plain[1] != nil {
		a.askTCP(ctx)
	}
}

// reach says why an address cannot be connected to; empty if it can.
func reach(ctx context.Context, address string, timeout time.Duration) string {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return failureOf(err)
	}
	conn.Close()
	return ""
}

// questions are those that are asked, as many as the limit allows, spread evenly.
func (a *asker) questions() (all []question) {
	var probes []probe
	last := ""
	for _, p := range a.sides.probes() {
		if p.host != last {
			last = p.host
			for _, path := range a.Paths {
				probes = append(probes, probe{p.host, path})
			}
		}
		probes = append(probes, p)
	}
	seen := make(map[question]bool)
	for _, p := range probes {
		for _, secure := range []bool{false, true} {
			q := question{p, secure}
			if sides := a.sidesFor(q); sides[0] != nil && !seen[q] {
				seen[q] = true
				all = append(all, q)
			}
		}
	}
	if a.Limit == 0 || len(all) <= a.Limit {
		return all
	}
	some := make([]question, a.Limit)
	for i := range some {
		some[i] = all[i*len(all)/a.Limit]
	}
	return some
}

func (a *asker) sidesFor(q question) [2]*side {
	if q.secure {
		return a.secured
	}
	return a.plain
}

func (a *asker) askAll(ctx context.Context, questions []question) {
	next := make(chan question)
	var workers sync.WaitGroup
	for range min(a.Concurrency, len(questions)) {
		workers.Go(func() {
			for q := range next {
				a.one(ctx, q, len(questions))
			}
		})
	}
	shown := time.Now()
	for _, q := range questions {
		select {
		case next <- q:
		case <-ctx.Done():
		}
		if time.Since(shown) > progressEvery {
			shown = time.Now()
			a.progress(len(questions))
		}
	}
	close(next)
	workers.Wait()
	if left := len(questions) - a.t.Compared; left > 0 && a.t.NotDone == "" {
		a.t.NotDone = fmt.Sprintf("interrupted: %d of %d questions were not asked", left, len(questions))
	}
}

func (a *asker) progress(of int) {
	if a.Progress == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.Progress, "asked %d of %d, %d different so far\n", a.done, of, a.t.Different)
}

// one asks one question, and notes what came of it. What was interrupted is not noted.
func (a *asker) one(ctx context.Context, q question, of int) {
	sides := a.sidesFor(q)
	p := pair{probe: q.probe, secure: q.secure, method: a.Method, rules: a.sides.predict(q.probe, q.secure)}
	answers := [2][]answer{}
	askBoth := func(times int) {
		for range times {
			for i, side := range sides {
				if side != nil {
					answers[i] = append(answers[i], side.ask(ctx, a.Method, q.probe, a.header))
				}
			}
		}
	}
	askBoth(asks)
	p.old, p.new = answers[0], answers[1]
	if sides[1] != nil && p.answered() && !p.proxies() && compareBodies(bodiesOf(p.old), bodiesOf(p.new)) == otherBody {
		askBoth(moreAsks)
		p.old, p.new = answers[0], answers[1]
	}
	if ctx.Err() != nil {
		return
	}
	findings := p.compareWithRules()
	if sides[1] != nil {
		findings = append(findings, p.compareAnswers()...)
	}
	a.note(p, findings, of)
}

// answered reports whether there is an answer to each request, with one status.
func (p pair) answered() bool {
	for _, answers := range [][]answer{p.old, p.new} {
		for _, one := range answers {
			if one.failure != "" || one.status != p.old[0].status {
				return false
			}
		}
	}
	return true
}

func (a *asker) note(p pair, findings []Finding, of int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done++
	a.r.count(a.t, findings)
	a.unanswered++
	for _, one := range append(p.old[:len(p.old):len(p.old)], p.new...) {
		if one.failure == "" {
			a.unanswered = 0
		}
	}
	if a.unanswered >= giveUpAfter && a.t.NotDone == "" {
		a.t.NotDone, a.t.Failed = fmt.Sprintf("given up after %d questions without any answer: %d of %d were not asked", giveUpAfter, of-a.done, of), true
		a.stop()
	}
}

// compareWithRules compares what marathon-lb answered with what it should answer by its rules,
// and, if Relay is not asked, with what Relay would answer.
func (p pair) compareWithRules() (findings []Finding) {
	first := p.old[0]
	f := Finding{Verdict: Different, Kind: NotInModel, Subject: p.subject(), App: p.rules.app, Old: answerWords(first)}
	fixed := true
	for _, one := range p.old[1:] {
		fixed = fixed && one.failure == first.failure && one.status == first.status
	}
	const noRule = 503
	switch {
	case first.failure != "" && len(p.new) > 0:
		return nil // told by the comparison of answers
	case first.failure != "" || !fixed:
		f.Verdict, f.Kind, f.New, f.Reason = CannotTell, Failed, "not asked", "marathon-lb does not answer, or not always the same"
		return []Finding{f}
	case !p.rules.old.fits(first, noRule):
		f.New = "not asked"
		f.Reason = fmt.Sprintf("by its rules marathon-lb should answer with %s: it has other options or templates, or an older configuration", p.rules.old.class)
		f.Do = "give --old-group and the other options of marathon-lb, or have it read Marathon again (/_mlb_signal/hup)"
		findings = append(findings, f)
	}
	if len(p.new) > 0 {
		return findings
	}
	f.Kind, f.New, f.Do = Status, string(p.rules.new.class), ""
	switch {
	case p.rules.new.class == classNone && first.status == noRule:
		f.Kind = Unknown
		return append(findings, f.expected("unknown domain"))
	case !p.rules.new.fits(first, 404), p.rules.new.class == classApp && p.rules.old.class != classApp && p.rules.reason != "":
		f.Reason = p.rules.reason
		return append(findings, f)
	case p.rules.new.class == classApp && first.status >= 502 && first.status <= 504:
		f.Verdict, f.Reason = CannotTell, "marathon-lb has no answer of the app at the moment"
		return append(findings, f)
	}
	return findings
}

func answerWords(a answer) string {
	if a.failure != "" {
		return a.failure
	}
	text := fmt.Sprint(a.status)
	if location := a.header.Get("Location"); location != "" {
		text += " to " + withoutSecrets(location)
	}
	return text
}
