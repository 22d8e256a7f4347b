package main

import (
	"strings"

	"relay/admin/api"
	"relay/internal/terminal"
)

// level is how bad something is. Its numbers are the statuses of plugins for Nagios.
type level int

// The levels, as the plugin guideline has them.
const (
	levelOK level = iota
	levelWarning
	levelCritical
	levelUnknown
)

// String is the level's word in the guideline.
func (l level) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[l] }

func (l level) style() terminal.Style {
	return [...]terminal.Style{terminal.Green, terminal.Yellow, terminal.Red, terminal.Red}[l]
}

func levelOf(l api.Level) level {
	switch l {
	case api.OK:
		return levelOK
	case api.Warning:
		return levelWarning
	}
	return levelCritical
}

// worst is the level of findings, of which the worst are first.
func worst(findings []api.Finding) level {
	if len(findings) == 0 {
		return levelOK
	}
	return levelOf(findings[0].Level)
}

// findings shows what Relay concludes, each with what to do.
func (p printer) findings(findings []api.Finding) {
	const rest = "            "
	for _, f := range findings {
		l := levelOf(f.Level)
		word := strings.ToLower(l.String())
		p.screen.Hanging("  "+p.screen.Styled(l.style(), word)+strings.Repeat(" ", len("critical")-len(word))+"  ", rest, f.Text)
		if f.Action != "" {
			p.screen.Hanging(rest+"> ", rest+"  ", f.Action)
		}
	}
}
