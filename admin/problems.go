package admin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

// maxShownGroups and maxOfGroup bound the groups in the JSON: its list of problems has all.
const (
	maxShownGroups = 200
	maxOfGroup     = 10
)

// grouped returns the first limit groups of problems as the page and the JSON show them, with
// the first few problems each, and how many groups there are more.
func grouped(problems []problem.Problem, limit, ofGroup int) (groups []problem.Group, more int) {
	groups = problem.Groups(problems, ofGroup)
	more = max(0, len(groups)-limit)
	groups = groups[:len(groups)-more]
	for i := range groups {
		groups[i].Problems = shownAll(groups[i].Problems)
		groups[i].Subject = redact(groups[i].Subject)
	}
	return orEmpty(groups), more
}

func shownAll(list []problem.Problem) []problem.Problem {
	list = orEmpty(list)
	for i := range list {
		list[i] = shown(list[i].Complete())
		list[i].Subject = redact(list[i].Subject)
		list[i].Reason = redact(list[i].Reason)
	}
	return list
}

// problemsJSON answers /api/v1/problems. Its pages are of the problems; each has all groups.
func (s *Server) problemsJSON(_ *http.Request, q query) (any, error) {
	kind, severity, app := q.values["kind"], q.values["severity"], q.values["app"]
	problems := filter(s.cfg.Views.Problems(), kind+severity+app != "", func(p problem.Problem) bool {
		return (kind == "" || string(shown(p).Kind) == kind) && (severity == "" || string(p.Severity) == severity) && (app == "" || p.App == app)
	})
	list := api.Problems{Summary: s.cfg.Views.Served().String()}
	list.Groups, list.MoreGroups = grouped(problems, maxShownGroups, maxOfGroup)
	var some []problem.Problem
	some, list.Page = pageOfProblems(problems, q)
	list.Problems = shownAll(slices.Clone(some))
	return list, nil
}

// patience bounds the share of a core that goes into finding problems while pages are open: as
// much time passes between as one search takes, this many times.
const patience = 100

// sharedProblems are the problems as they were found last, for the status and events: all who
// ask share them. Very many are found less often.
type sharedProblems struct {
	mu sync.Mutex
	foundProblems
	next time.Time
}

// foundProblems are problems, and the first groups of them.
type foundProblems struct {
	at         time.Time
	all        []problem.Problem
	failing    int
	worst      []problem.Group
	moreGroups int
}

// current returns problems that nobody may modify.
func (s *sharedProblems) current(views Views, now time.Time) foundProblems {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		return s.foundProblems
	}
	begun := time.Now()
	found := foundProblems{at: now, all: views.Problems()}
	for _, p := range found.all {
		if p.Severity == problem.Failing {
			found.failing++
		}
	}
	found.worst, found.moreGroups = grouped(found.all, maxWorst, maxOfWorst)
	s.foundProblems, s.next = found, now.Add(patience*time.Since(begun))
	return found
}

// pageOfProblems returns a page of problems in their order: those that compare as greater than
// the last of the page before.
func pageOfProblems(problems []problem.Problem, q query) ([]problem.Problem, api.Page) {
	page := api.Page{Total: len(problems)}
	if q.after != nil {
		from := slices.IndexFunc(problems, func(p problem.Problem) bool { return problemKey(p) > q.after.Name })
		if from < 0 {
			from = len(problems)
		}
		problems = problems[from:]
	}
	end := min(len(problems), q.limit)
	// Problems with the same key are on one page.
	for end > 0 && end < len(problems) && problemKey(problems[end]) == problemKey(problems[end-1]) {
		end++
	}
	if end < len(problems) {
		page.Next = position{Name: problemKey(problems[end-1])}.cursor()
	}
	return problems[:end], page
}

// problemKey is in the order of problem.Sort.
func problemKey(p problem.Problem) string {
	rank := p.Severity.Compare(problem.Failing)
	return strings.Join([]string{strconv.Itoa(rank), p.App, p.Domain, p.Subject}, "\x00")
}

// shown returns a problem in the words of the page and the JSON. Its subject is what has the
// problem: an app, a fleet, a certificate, an Envoy or a source; its kind says which of these. The
// fleet is in the reason.
func shown(p problem.Problem) problem.Problem {
	switch {
	case p.App != "":
		p.Kind, p.App, p.Subject, p.Item = problem.App, "", p.App, p.Subject
	case p.Kind == problem.Fleet:
		p.Fleet, p.Subject, p.Item = "", "fleet "+p.Fleet, p.Subject
	case p.Kind != problem.Envoy && p.Kind != problem.Source:
		p.Kind = problem.Certificate
	}
	if p.Fleet != "" {
		p.Fleet, p.Reason = "", "fleet "+p.Fleet+": "+p.Reason
	}
	return p
}
