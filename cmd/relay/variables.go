package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"relay/internal/problem"
)

const variablePrefix = "RELAY_"

// otherVariables are of the form of Relay's, and of the project's own tests.
var otherVariables = []string{"RELAY_ENVOY", "RELAY_VAULTDEV"}

// links are variables that Kubernetes and Docker set for a service or container called
// relay, or relay-something. Those that end in PORT and NAME are told by their value.
var links = regexp.MustCompile(`^RELAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|ENV_\w+)=` +
	`|^RELAY_(\w+_)?PORT=(tcp|udp|sctp)://|^RELAY_(\w+_)?NAME=/`)

// labelLike are the labels of apps, which are no variables of Relay.
var labelLike = regexp.MustCompile(`^RELAY_(\d+|n|\{n\})_`)

// allFlags returns those of all commands.
func allFlags(app *kong.Application) []*kong.Flag {
	all := slices.Concat(app.AllFlags(false)...)
	for _, command := range app.Leaves(false) {
		all = append(all, command.Flags...)
	}
	return all
}

// unknownVariables tells which variables of an environment look like settings and are none.
// It repeats no value: one may be a secret.
func unknownVariables(app *kong.Application, environment []string) (problems []problem.Problem) {
	known := make(map[string]bool)
	for _, flag := range allFlags(app) {
		for _, name := range flag.Envs {
			if strings.HasPrefix(name, variablePrefix) {
				known[name] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(known))
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, variablePrefix) || known[name] || links.MatchString(variable) || slices.Contains(otherVariables, name) {
			continue
		}
		reason := "unknown variable, which has no effect: see relay serve --help for all there are"
		if labelLike.MatchString(name) {
			reason = "unknown variable, which has no effect: set it as a label of an app"
		} else if near := nearest(name, names); near != "" {
			reason = fmt.Sprintf("unknown variable, which has no effect: did you mean %s?", near)
		}
		problems = append(problems, problem.Problem{Kind: problem.Source, Severity: problem.Ignored, Subject: name, Reason: reason, Action: "correct the variable's name, or remove it"})
	}
	slices.SortFunc(problems, func(a, b problem.Problem) int { return strings.Compare(a.Subject, b.Subject) })
	return problems
}

// nearest returns the known name that was meant, or nothing: one that differs in a few
// letters, or else the longest that the name goes on after, as RELAY_HTTP_LISTEN does.
func nearest(name string, known []string) string {
	for _, kind := range []string{"_URL", "_URLS", "_ADDRESS", "_ADDR"} {
		if base, ok := strings.CutSuffix(name, kind); ok && slices.Contains(known, base) {
			return base
		}
	}
	best, distance := "", max(2, (len(name)-len(variablePrefix))/4)+1
	for _, candidate := range known {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best != "" {
		return best
	}
	for _, candidate := range known {
		if strings.HasPrefix(name, candidate+"_") && len(candidate) > len(best) {
			best = candidate
		}
	}
	return best
}

// editDistance is the number of letters to insert, delete or replace to get from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// settingsWarnings are mistakes in settings that do not keep Relay from serving.
func settingsWarnings(kctx *kong.Context) []problem.Problem {
	return unknownVariables(kctx.Model, os.Environ())
}
