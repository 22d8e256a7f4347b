package explain

import (
	"fmt"

	"relay/internal/plural"
	"relay/sources"
)

// requestLimitWords says how many requests there may be, and how large.
func requestLimitWords(l *sources.RequestLimits) (words []string) {
	if l == nil {
		return nil
	}
	if l.Rate != nil {
		words = append(words, fmt.Sprintf("all clients together may send %s, others get 429", rateWords(*l.Rate)))
	}
	if c := l.PerClient; c != nil {
		by := "address"
		if c.Header != "" {
			by = "value of the header " + c.Header
		}
		words = append(words, fmt.Sprintf("each client, by its %s, may send %s, others get 429", by, rateWords(c.Rate)))
	}
	if l.MaxBody > 0 {
		words = append(words, fmt.Sprintf("bodies of requests may have %d bytes, and %d if their length is not said: larger ones get 413", l.MaxBody, l.HeldBody()))
	}
	if l.MaxHeaders > 0 {
		words = append(words, fmt.Sprintf("heads of requests may have %d bytes: larger ones get 431", l.MaxHeaders))
	}
	return words
}

func rateWords(r sources.Rate) string {
	return fmt.Sprintf("%s in %s, and %d at once", plural.Of(r.Requests, "request"), r.Per, r.Burst)
}
