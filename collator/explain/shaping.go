package explain

import (
	"cmp"
	"fmt"
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

// shapingWords says how requests and answers are changed.
func shapingWords(f *routing.Fleet, s *sources.Shaping) (words []string) {
	if s == nil {
		return nil
	}
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	for _, r := range s.Redirects {
		// What a target asks for may be a secret.
		target, _, _ := strings.Cut(r.Target, "?")
		say("requests for the host %s and the path %s are redirected to %s (%d)", cmp.Or(r.Host, "of any name"), cmp.Or(r.Path, "of any name"), target, r.Code)
	}
	if r := s.PathRewrite; r != nil {
		say("of the path that the app sees, %s becomes %s", r.Pattern, r.Substitution)
	}
	switch {
	case s.Host != "":
		say("the app sees the host %s, and that of the request in X-Forwarded-Host", s.Host)
	case s.HostOfInstance:
		say("each instance sees its own address as the host, and that of the request in X-Forwarded-Host")
	}
	if s.CORS != nil {
		words = append(words, corsWords(*s.CORS))
	}
	if s.Compress != nil {
		say("answers are compressed")
	}
	if s.StickyHeader != "" {
		say("clients stay with their instance, by the header %s", s.StickyHeader)
	}
	if len(s.Urgent) > 0 {
		say("requests for %s have limits of their own", strings.Join(s.Urgent, ", "))
	}
	for _, m := range s.Mirrors {
		say("copies of %g %% of the requests are sent to port %d of %s, if it lets that be", m.Percent, m.To.Port, m.To.App)
	}
	if s.Fault != nil {
		words = append(words, faultWords(f, *s.Fault)...)
	}
	return words
}

func corsWords(c sources.CORS) string {
	words := "pages of " + strings.Join(c.Origins, ", ") + " may ask"
	for _, list := range []struct {
		what  string
		names []string
	}{{"by the methods", c.Methods}, {"with the headers", c.Headers}, {"read the headers", c.ExposeHeaders}} {
		if len(list.names) > 0 {
			words += ", " + list.what + " " + strings.Join(list.names, ", ")
		}
	}
	if c.Credentials {
		words += ", with cookies"
	}
	if c.MaxAge != nil {
		words += fmt.Sprintf(", and browsers remember that for %s", *c.MaxAge)
	}
	return words
}

func faultWords(f *routing.Fleet, fault sources.Fault) (words []string) {
	if !f.Faults {
		return []string{"faults are asked for, which the fleet does not allow (faults: true)"}
	}
	if fault.Delay > 0 {
		words = append(words, fmt.Sprintf("%g %% of the requests are held up for %s", fault.DelayPercent, fault.Delay))
	}
	if fault.Abort > 0 {
		words = append(words, fmt.Sprintf("%g %% of the requests get %d", fault.AbortPercent, fault.Abort))
	}
	return words
}
