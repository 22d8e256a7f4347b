package explain

import (
	"fmt"
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

// signOnWords says how people sign on, and why nobody can.
func signOnWords(f *routing.Fleet, r routing.Rule) (words []string) {
	s := r.HTTP.SignOn
	if s == nil {
		return nil
	}
	if j := s.JWT; j != nil {
		words = append(words, tokenWords(f, *j))
	}
	if a := s.App; a != nil {
		asked := fmt.Sprintf("port %d of %s is asked about each request", a.Port, a.App)
		if a.Path != "" {
			asked += " at " + a.Path
		}
		if len(a.RequestHeaders) > 0 {
			asked += ", and told " + strings.Join(a.RequestHeaders, ", ")
		}
		if a.Timeout > 0 {
			asked += fmt.Sprintf(", for %s at most", a.Timeout)
		}
		words = append(words, asked)
	}
	if told := s.Told(); len(told) > 0 {
		words = append(words, "the app is told who it is by "+strings.Join(told, ", ")+", which clients cannot set")
	}
	return words
}

func tokenWords(f *routing.Fleet, j sources.JWT) string {
	words := fmt.Sprintf("a token of %s is asked for, which is for %s", j.Issuer, strings.Join(j.Audiences, " or "))
	switch e, _, reason := f.Ask(j.JWKS); {
	case j.Keys != "":
		return words + "; its keys are the credential " + j.Keys
	case reason != "":
		return words + "; its keys cannot be had, so every request gets 403: the URL " + reason
	default:
		return words + "; its keys come from " + e.Authority()
	}
}
