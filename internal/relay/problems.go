package relay

import (
	"slices"

	"relay/internal/problem"
	"relay/internal/scrape"
)

// Problems are what is ignored or does not work, complete and the worst first: of apps and
// certificates, of sources, and what Envoys rejected.
func (r *Relay) Problems() []problem.Problem {
	problems := completed(r.collator.Problems(), r.collator.UncoveredProblems(), r.otherProblems())
	problem.Sort(problems)
	return problems
}

// completed joins lists of problems, and completes each.
func completed(lists ...[]problem.Problem) []problem.Problem {
	all := slices.Concat(lists...)
	for i := range all {
		all[i] = all[i].Complete()
	}
	return all
}

// otherProblems are those that the collator does not know.
func (r *Relay) otherProblems() []problem.Problem {
	var problems []problem.Problem
	read := r.apps.Status().LastError == ""
	for _, s := range r.Sources() {
		if s.LastError != "" {
			problems = append(problems, problem.Problem{Kind: problem.Source, Subject: s.Kind + " " + s.Name, Reason: s.LastError})
		}
	}
	for _, p := range r.apps.Status().Problems {
		p.Kind = problem.Source
		problems = append(problems, p)
	}
	return slices.Concat(problems, r.config.settingsProblems(), r.tlsFiles.problems(), r.portCertificates.problems(), r.statusPage.Problems(), r.stateProblems(), r.envoyProblems(), r.unreachableProblems(), r.scaling.problems(read))
}

// settingsProblems are mistakes in the settings that do not keep Relay from serving.
func (c *Config) settingsProblems() []problem.Problem {
	return slices.Concat(c.Warnings, c.exposedSecrets())
}

var (
	problemsGauge = scrape.NewGauge("relay_problems", "Problems on the status page, by kind.", "kind")
	failingGauge  = scrape.NewGauge("relay_problems_failing", "Problems that cost requests now, or keep changes from Envoys: those of the severity failing.")
)

// countProblems looks at no app.
func (r *Relay) countProblems(set scrape.Set) {
	counts, failing := r.collator.ProblemCounts()
	for _, p := range completed(r.otherProblems()) {
		if counts[p.Kind]++; p.Severity == problem.Failing {
			failing++
		}
	}
	for _, kind := range problem.Kinds() {
		set(problemsGauge, float64(counts[kind]), string(kind))
	}
	set(failingGauge, float64(failing))
}
