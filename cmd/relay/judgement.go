package main

import (
	"fmt"
	"slices"
	"time"

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

// finding is one thing that is not well.
type finding struct {
	level level
	text  string
}

// criticalDays is when a certificate that is in use is critical: it was not renewed for long,
// and clients refuse it soon.
const criticalDays = 2

// judge says what is not well, the worst first. The same decides of relay status, its exit
// status, and what it says to Nagios. The guide for the command line has the rules.
func judge(s api.Status) (findings []finding) {
	add := func(l level, format string, args ...any) {
		findings = append(findings, finding{l, fmt.Sprintf(format, args...)})
	}
	if !s.Ready && len(s.NotReady) == 0 {
		add(levelCritical, "Envoys are not served everything yet")
	}
	for _, reason := range s.NotReady {
		add(levelCritical, "Envoys are not served everything yet: %s", reason)
	}
	for _, source := range s.Sources {
		judgeSource(source, add)
	}
	for _, f := range s.Fleets {
		judgeFleet(f, add)
	}
	judgeCertificates(s, add)
	if n := s.Counts.Failing; n > 0 {
		add(levelWarning, "%s", count(n, "problem costs requests, or keeps changes from Envoys", "problems cost requests, or keep changes from Envoys"))
	}
	if len(s.Refused) > 0 {
		add(levelWarning, "an Envoy was refused: %s", s.Refused[0])
	}
	slices.SortStableFunc(findings, func(a, b finding) int { return int(b.level - a.level) })
	return findings
}

// judgeSource takes apps that are not followed for worse than certificates: these are renewed
// weeks before they end.
func judgeSource(s api.Source, add func(level, string, ...any)) {
	if s.Connected {
		return
	}
	l := levelWarning
	if s.Kind == "marathon" || s.Kind == "file" {
		l = levelCritical
	}
	text := fmt.Sprintf("%s %s is not followed", s.Kind, s.Name)
	if s.LastError != "" {
		text += ": " + s.LastError
	}
	add(l, "%s", text)
}

func judgeFleet(f api.FleetStatus, add func(level, string, ...any)) {
	switch {
	case f.Envoys == 0 && len(f.Disconnected) > 0:
		add(levelCritical, "fleet %s: no Envoy is connected any more", f.Name)
	case f.Envoys == 0:
		add(levelWarning, "fleet %s: no Envoy is connected", f.Name)
	case len(f.Disconnected) > 0:
		add(levelWarning, "fleet %s: %s, such as %s", f.Name, count(len(f.Disconnected), "Envoy has left in the last hour", "Envoys have left in the last hour"), f.Disconnected[0].ID)
	}
	if f.Rejecting > 0 {
		add(levelWarning, "fleet %s: %s", f.Name, count(f.Rejecting, "Envoy rejects what it is sent", "Envoys reject what they are sent"))
	}
}

func judgeCertificates(s api.Status, add func(level, string, ...any)) {
	c := s.Certificates
	if c.Next != nil {
		switch left := c.Next.NotAfter.Sub(s.Time); {
		case left <= 0:
			add(levelCritical, "the certificate %s has expired", c.Next.Name)
		case left < criticalDays*24*time.Hour:
			add(levelCritical, "the certificate %s expires in %s", c.Next.Name, span(left))
		}
	}
	if c.Soon > 0 {
		add(levelWarning, "%s in less than %d days", count(c.Soon, "certificate that is used expires", "certificates that are used expire"), soonDays)
	}
	if c.Uncovered > 0 {
		add(levelWarning, "%s no certificate and should have one", count(c.Uncovered, "domain has", "domains have"))
	}
}

// worst is the level of all findings.
func worst(findings []finding) level {
	if len(findings) == 0 {
		return levelOK
	}
	return findings[0].level
}
