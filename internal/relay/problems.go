package relay

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/problem"
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
	for _, s := range r.Sources() {
		if s.LastError != "" {
			problems = append(problems, problem.Problem{Kind: problem.Source, Subject: s.Kind + " " + s.Name, Reason: s.LastError})
		}
	}
	for _, p := range r.apps.Status().Problems {
		p.Kind = problem.Source
		problems = append(problems, p)
	}
	return slices.Concat(problems, r.config.settingsProblems(), r.tlsFiles.problems(), r.portCertificates.problems(), r.stateProblems(), r.envoyProblems(), r.unreachableProblems())
}

// settingsProblems are mistakes in the settings that do not keep Relay from serving.
func (c *Config) settingsProblems() []problem.Problem {
	return slices.Concat(c.Warnings, c.exposedSecrets())
}

// problemsCollector counts problems when it is asked. It looks at no app, unless Envoys are so
// old that they cannot serve all that apps may ask for.
type problemsCollector struct{ relay *Relay }

var (
	problemsMetric = prometheus.NewDesc("relay_problems", "Problems on the status page, by kind.", []string{"kind"}, nil)
	failingMetric  = prometheus.NewDesc("relay_problems_failing", "Problems that cost requests now, or keep changes from Envoys: those of the severity failing.", nil, nil)
)

// Describe implements prometheus.Collector.
func (problemsCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- problemsMetric
	descs <- failingMetric
}

// Collect implements prometheus.Collector.
func (c problemsCollector) Collect(metrics chan<- prometheus.Metric) {
	counts, failing := c.relay.collator.ProblemCounts()
	for _, p := range completed(c.relay.otherProblems()) {
		if counts[p.Kind]++; p.Severity == problem.Failing {
			failing++
		}
	}
	for _, kind := range problem.Kinds() {
		metrics <- prometheus.MustNewConstMetric(problemsMetric, prometheus.GaugeValue, float64(counts[kind]), string(kind))
	}
	metrics <- prometheus.MustNewConstMetric(failingMetric, prometheus.GaugeValue, float64(failing))
}
