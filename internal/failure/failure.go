// Package failure has the codes of the answers that Envoy makes itself: what visitors, the
// header x-relay-error, metrics and people who look for the cause all call a failure.
package failure

import "slices"

// Header is the header of Envoy's own answers that has the name of the code. Apps cannot send
// it.
const Header = "x-relay-error"

// Answered is what Envoy says in the details of an answer that is an app's, and complete.
const Answered = "via_upstream"

// Code is one way in which a request or connection fails.
type Code struct {
	// Name is what it is called everywhere. A name never gets another meaning.
	Name string
	// Flags are Envoy's response flags of such an answer. See
	// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#config-access-log-format-response-flags
	Flags []string
	// By are the statuses by which Envoy's own answers are told where no flag tells them.
	By []uint32
	// Status is that of the answer to the visitor; 0 is the one that Envoy has chosen.
	Status uint32
	// Text is what the visitor reads. It is HTML, and a line of a header, as it is.
	Text string
	// Client is set if who asked is to blame, and no app and no fleet has a problem.
	Client bool
	// Meant is set if who runs the app wants such answers: nobody has a problem.
	Meant bool
	// Said is one of the statuses By: with it the text is that of the answer itself, in place of
	// Text. 0 is none.
	Said uint32
	// CutOff are the flags if the app's answer had begun, so that Envoy could make none.
	CutOff []string
	// Cause says what happened, Look what to look at, and Do what to do, for operators.
	Cause, Look, Do string
}

// Problem reports whether an app or a fleet has a problem if there are such answers.
func (c Code) Problem() bool { return !c.Client && !c.Meant }

// Of returns the code with a name.
func Of(name string) (Code, bool) {
	return first(func(c Code) bool { return c.Name == name })
}

// OfConnection returns the code of a TCP connection that failed, by Envoy's flags.
func OfConnection(has func(flag string) bool) (Code, bool) {
	return first(func(c Code) bool { return c.Problem() && slices.ContainsFunc(c.Flags, has) })
}

// OfCutOff returns the code of an answer that ended in the middle, by Envoy's flags.
func OfCutOff(has func(flag string) bool) (Code, bool) {
	return first(func(c Code) bool { return slices.ContainsFunc(c.CutOff, has) })
}

func first(fits func(Code) bool) (Code, bool) {
	if i := slices.IndexFunc(codes, fits); i >= 0 {
		return codes[i], true
	}
	return Code{}, false
}

// Codes returns all codes in the order in which they are tried: the first counts. The last one
// is of answers that no other code fits.
func Codes() []Code { return slices.Clone(codes) }

// ConnectionFlags returns the flags of TCP connections that fail.
func ConnectionFlags() (flags []string) {
	for _, c := range codes {
		if c.Problem() {
			flags = append(flags, c.Flags...)
		}
	}
	return flags
}

// CutOffFlags returns the flags of answers that ended in the middle.
func CutOffFlags() (flags []string) {
	for _, c := range codes {
		flags = append(flags, c.CutOff...)
	}
	return flags
}
