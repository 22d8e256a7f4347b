package compare

import (
	"cmp"
	"fmt"
	"strings"

	"relay/collator/routing"
	"relay/compare/marathonlb"
)

// class is what a side does with a request.
type class string

// The classes. All but classApp are answers of the proxy.
const (
	classApp      class = "the app"
	classRedirect class = "a redirect to https"
	classPassword class = "401"
	classClosed   class = "403"
	classNone     class = "no rule"
	classNoTask   class = "503"
)

// predicted is what a side should do by its rules.
type predicted struct {
	class class
	// location is that of a redirect.
	location string
	// networks is set if the answer depends on the client's address.
	networks bool
}

// prediction is what both sides should do with a request.
type prediction struct {
	old, new predicted
	app      string
	// otherApp is set if another app should get it.
	otherApp bool
	// reason says what the rules have different; empty if nothing.
	reason string
}

// predict says what the rules of both sides make of a request.
func (s *Sides) predict(p probe, secure bool) (told prediction) {
	rule, domain := s.relay.rule(p.host, p.path)
	old := s.old.AnswerHTTP(p.host, p.path)
	if secure {
		old = s.old.AnswerHTTPS(p.host, p.path)
	}
	if owner := cmp.Or(old.Service, old.Redirect, old.Auth); owner != nil {
		told.app = owner.App
	}
	told.old, told.new = predictOld(old, p), s.predictNew(rule, p, secure)
	told.otherApp = old.Service != nil && rule != nil && !s.same(old.Service, rule)
	for _, f := range s.compareAnswer(p, old, rule, domain, !secure) {
		if f.Verdict == Different {
			told.reason = fmt.Sprintf("by the rules marathon-lb: %s; Relay: %s", f.Old, f.New)
			break
		}
	}
	if told.reason == "" && told.old.class != told.new.class {
		told.reason = fmt.Sprintf("by the rules marathon-lb answers with: %s; Relay: %s", told.old.class, told.new.class)
	}
	return told
}

func predictOld(old marathonlb.Answer, p probe) predicted {
	switch {
	case old.Auth != nil:
		return predicted{class: classPassword}
	case old.Redirect != nil:
		return predicted{class: classRedirect, location: "https://" + p.host + p.path}
	case old.Service == nil:
		return predicted{class: classNone}
	}
	if root := old.Service.RootRedirect; root != "" && p.path == "/" && len(old.Service.Hosts) == 1 {
		return predicted{class: classRedirect, location: root, networks: len(old.Service.Networks) > 0}
	}
	return predicted{class: classApp, networks: len(old.Service.Networks) > 0}
}

func (s *Sides) predictNew(rule *routing.Rule, p probe, secure bool) predicted {
	switch {
	case rule == nil:
		return predicted{class: classNone}
	case !secure && s.relay.redirects(rule):
		location := "https://" + p.host
		if port := s.relay.fleet.PublicHTTPSPort(); port != 443 {
			location += fmt.Sprintf(":%d", port)
		}
		return predicted{class: classRedirect, location: location + p.path}
	case rule.HTTP.Closed:
		return predicted{class: classClosed}
	case rule.HTTP.BasicAuth != nil:
		return predicted{class: classPassword}
	}
	networks := len(rule.HTTP.AllowedNetworks) > 0
	if root := rule.HTTP.RootRedirect; root != "" && p.path == "/" && rule.Path.Prefix == "/" {
		return predicted{class: classRedirect, location: root, networks: networks}
	}
	for _, t := range rule.Targets {
		id, index := routing.SplitClusterName(t.Cluster)
		if port, known := s.relay.port(s.relay.members(id), index); known && len(port.Endpoints) > 0 {
			return predicted{class: classApp, networks: networks}
		}
	}
	return predicted{class: classNoTask, networks: networks}
}

// fits reports whether an answer is what a side should give. An app may answer with anything,
// but not as HAProxy does that has no task for it.
func (p predicted) fits(a answer, noRule int) bool {
	switch {
	case a.failure != "" || p.networks && a.status == 403:
		return p.networks && a.failure == ""
	case p.class == classRedirect:
		return a.status == 301 && sameLocation(a.header.Get("Location"), p.location)
	case p.class == classPassword:
		return a.status == 401
	case p.class == classClosed:
		return a.status == 403
	case p.class == classNone:
		return a.status == noRule
	case p.class == classNoTask:
		return a.status == 503
	}
	return true
}

// sameLocation compares the location of an answer with the one that is expected, which may
// be a path alone.
func sameLocation(is, want string) bool {
	return is == want || strings.HasPrefix(want, "/") && strings.HasSuffix(is, want)
}
