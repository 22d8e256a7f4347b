package collator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/hostname"
)

// remarks says what some clients miss in the chain of a certificate, and which other
// certificates are served for names of it, and why. served is for how many of its names it
// is served itself.
func remarks(c *certs.Certificate, s certs.Selection, served int, now time.Time) (all []string) {
	if c.Remark != "" {
		all = append(all, c.Remark)
	}
	if served == len(c.ServerNames) && (!c.Default || c == s.Default || c == s.DefaultSecond) {
		return all
	}
	lost := make(map[*certs.Certificate][]string)
	var winners []*certs.Certificate
	lose := func(what string, rivals ...*certs.Certificate) {
		winner := rival(c, rivals)
		if winner == nil {
			return
		}
		if lost[winner] == nil {
			winners = append(winners, winner)
		}
		lost[winner] = append(lost[winner], what)
	}
	for _, name := range c.ServerNames {
		winner := s.Winners[name]
		if left := s.LeftToWildcard[name]; left != nil && left != c { // that of left is a problem
			winner = s.Winners[hostname.WildcardOver(name)]
		}
		lose(name, winner, s.Seconds[name])
	}
	if c.Default {
		lose("clients without a known name", s.Default, s.DefaultSecond)
	}
	for _, winner := range winners {
		all = append(all, fmt.Sprintf("not served for %s: %s is, as %s",
			shortList(lost[winner]), routing.SecretName(winner), c.LosesTo(winner, now)))
	}
	return all
}

// rival returns the one of the certificates served that keeps c from being served: that
// with the same kind of key, if there is one. It is nil if c is served itself.
func rival(c *certs.Certificate, served []*certs.Certificate) *certs.Certificate {
	if slices.Contains(served, c) {
		return nil
	}
	for _, s := range served {
		if s != nil && s.Kind == c.Kind {
			return s
		}
	}
	return served[0]
}

// shortList keeps a remark short on a certificate with hundreds of names.
func shortList(names []string) string {
	const limit = 3
	list := strings.Join(names[:min(limit, len(names))], ", ")
	if more := len(names) - limit; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
