package problem

import (
	"cmp"
	"slices"
)

// Group is the problems of one app, domain or other thing, the worst first.
type Group struct {
	// About is what has the problems: "app", "domain", "group" (of apps that no fleet here
	// serves), "fleet", or the kind of the problems.
	About string `json:"about"`
	// Subject is its name.
	Subject string `json:"subject"`
	// Severity and Action are those of the worst problem.
	Severity Severity `json:"severity"`
	Action   string   `json:"action"`
	// Count is how many problems there are. Problems are the first of them.
	Count    int       `json:"count"`
	Problems []Problem `json:"problems"`
}

// More is how many problems of the group are left out.
func (g Group) More() int { return g.Count - len(g.Problems) }

// groupKey is what problems of one group have in common.
type groupKey struct{ about, subject string }

// Groups groups problems, each of which is complete. A problem of an app with a domain
// belongs to the one of these that has more problems: so an app that loses fifty domains is
// one group, and so is a domain that five apps lose. Groups are ordered by severity, then the
// largest first. No group has more than limit problems in it.
func Groups(problems []Problem, limit int) []Group {
	problems = slices.Clone(problems)
	Sort(problems)
	apps, domains := make(map[string]int), make(map[string]int)
	for _, p := range problems {
		apps[p.App]++
		domains[p.Domain]++
	}
	at := make(map[groupKey]int)
	var groups []Group
	for _, p := range problems {
		key := keyOf(p, apps, domains)
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, Group{About: key.about, Subject: key.subject, Severity: p.Severity, Action: p.Action})
		}
		if groups[i].Count++; groups[i].Count <= limit {
			groups[i].Problems = append(groups[i].Problems, p)
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(a.Severity.Compare(b.Severity), cmp.Compare(b.Count, a.Count))
	})
	return groups
}

func keyOf(p Problem, apps, domains map[string]int) groupKey {
	switch {
	case p.MayBeMeant():
		return groupKey{"group", p.Item}
	case p.Domain != "" && (p.App == "" || domains[p.Domain] > apps[p.App]):
		return groupKey{"domain", p.Domain}
	case p.App != "":
		return groupKey{"app", p.App}
	case p.Kind == Fleet:
		return groupKey{"fleet", p.Fleet}
	}
	return groupKey{string(p.Kind), p.Subject}
}

// Sort puts complete problems in order, the worst first.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(a.Severity.Compare(b.Severity), cmp.Compare(a.App, b.App), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Subject, b.Subject))
	})
}
