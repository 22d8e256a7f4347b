package envoy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"relay/collator/routing"
	"relay/sources"
)

// longestTimeout is shorter than the longest that Envoy can handle.
const longestTimeout = 100 * 365 * 24 * time.Hour

// checkHandling says why Envoy would reject a route that handles requests so. It has what
// the rules of Envoy's API definition leave out: validate applies those.
func checkHandling(h sources.HTTP) error {
	for _, edits := range []sources.HeaderEdits{h.RequestHeaders, h.ResponseHeaders} {
		for _, header := range edits.Add {
			if err := checkHeader(header.Name); err != nil {
				return err
			}
		}
		for _, name := range edits.Remove {
			if err := checkHeader(name); err != nil {
				return err
			}
		}
	}
	if a := h.BasicAuth; a != nil {
		if err := checkAuth(*a); err != nil {
			return err
		}
	}
	return errors.Join(checkSignOn(h.SignOn), checkTimeout("the timeout", h.Timeout), checkTimeout("the idle timeout", h.IdleTimeout), checkTimeout("the longest time of a stream", &h.MaxStreamDuration))
}

func checkTimeout(what string, d *time.Duration) error {
	if d != nil && (*d < 0 || *d > longestTimeout) {
		return fmt.Errorf("%s is %s: Envoy takes 0s to %s", what, *d, longestTimeout)
	}
	return nil
}

func checkHeader(name string) error {
	if strings.HasPrefix(name, ":") || strings.EqualFold(name, "host") {
		return fmt.Errorf("the header %.40q cannot be changed", name)
	}
	return nil
}

// checkAuth never shows what it reads, in no error.
func checkAuth(a sources.BasicAuth) error {
	if _, reason := sources.NewBasicAuth(a.Realm, a.Users()); reason != "" {
		return errors.New("the users or the hashes of their passwords are of a kind that cannot be checked")
	}
	return nil
}

// mostRetries is more than anybody needs, and few enough to be multiplied.
const mostRetries = 1000

// checkService does for a TCP service what checkHandling does for a route.
func checkService(s routing.Service) error {
	if s.Retries > mostRetries {
		return fmt.Errorf("%d retries are too many: at most %d can be had", s.Retries, mostRetries)
	}
	return checkTimeout("the idle timeout", &s.IdleTimeout)
}
