package compare

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// pair is what both sides answered to a request, each more than once, and what the rules say
// of it.
type pair struct {
	probe    probe
	secure   bool
	method   string
	old, new []answer
	rules    prediction
}

func (p pair) subject() string {
	if p.secure {
		return "https://" + p.probe.String()
	}
	return "http://" + p.probe.String()
}

// steady returns the value that all answers have, and whether there is one.
func steady[T comparable](answers []answer, value func(answer) T) (T, bool) {
	first := value(answers[0])
	for _, a := range answers[1:] {
		if value(a) != first {
			return first, false
		}
	}
	return first, true
}

// compareAnswers compares what both sides answered. What differs among the answers of one
// side does not count.
func (p pair) compareAnswers() (findings []Finding) {
	found := func(kind Kind, verdict Verdict, was, is, reason string) *Finding {
		findings = append(findings, Finding{Verdict: verdict, Kind: kind, Subject: p.subject(), App: p.rules.app, Old: was, New: is, Reason: reason})
		return &findings[len(findings)-1]
	}
	failure := func(a answer) string { return a.failure }
	was, always := steady(p.old, failure)
	is, alsoAlways := steady(p.new, failure)
	switch {
	case was == interrupted || is == interrupted:
		return []Finding{{Verdict: CannotTell, Kind: Failed, Subject: p.subject(), Reason: interrupted}}
	case !always || !alsoAlways:
		found(Failed, CannotTell, failures(p.old), failures(p.new), "a side answers only sometimes")
		return findings
	case was != "" && is != "":
		found(Failed, CannotTell, was, is, "neither side answers")
		return findings
	case was != is:
		found(Failed, Different, orAnswers(was, p.old), orAnswers(is, p.new), "one side does not answer").Do = "see whether the addresses are right, and relay explain DOMAIN"
		return findings
	}
	if reason := compareCertificates(p.old[0].shown, p.new[0].shown); reason != "" {
		found(Certificate, Different, p.old[0].shown.String(), p.new[0].shown.String(), reason).Do = "see relay explain DOMAIN"
	}
	oldStatus, fixed := steady(p.old, func(a answer) int { return a.status })
	newStatus, alsoFixed := steady(p.new, func(a answer) int { return a.status })
	switch {
	case !fixed || !alsoFixed:
		found(Status, CannotTell, statuses(p.old), statuses(p.new), "a side answers now this, now that")
		return findings
	case oldStatus != newStatus:
		f := found(Status, Different, fmt.Sprint(oldStatus), fmt.Sprint(newStatus), p.rules.reason)
		if p.rules.old.class == classNone && p.rules.new.class == classNone && oldStatus == 503 && newStatus == 404 {
			f.Kind = Unknown
			*f = f.expected("unknown domain")
		}
		return findings // all else follows from it
	}
	findings = append(findings, p.compareHeaders()...)
	findings = append(findings, p.compareCookies()...)
	return append(findings, p.compareApps()...)
}

// proxies reports whether the answer is one of the proxies themselves, and of no app.
func (p pair) proxies() bool {
	status := p.old[0].status
	return p.rules.old.class != classApp && p.rules.new.class != classApp || status >= 502 && status <= 504
}

func (p pair) compareHeaders() (findings []Finding) {
	for _, name := range comparedHeaders {
		value := func(a answer) string { return a.header.Get(name) }
		if name == "Location" {
			value = p.location
		}
		was, fixed := steady(p.old, value)
		is, alsoFixed := steady(p.new, value)
		if !fixed || !alsoFixed || was == is {
			continue
		}
		f := Finding{Verdict: Different, Kind: Header, Subject: p.subject(), App: p.rules.app, Old: name + ": " + orNone(was), New: name + ": " + orNone(is)}
		switch {
		case name == "Location":
			was, is = p.old[0].header.Get(name), p.new[0].header.Get(name) // as they are written
			f.Kind, f.Old, f.New = Location, name+": "+orNone(withoutSecrets(was)), name+": "+orNone(withoutSecrets(is))
			if f.Old == f.New {
				f.Reason = "what is not shown of it differs"
			}
		case name == "Strict-Transport-Security" && !p.secure && is == "":
			f.Kind = HSTS
			f = f.expected("HSTS")
		case name == "Www-Authenticate" && scheme(was) == scheme(is) && was != "":
			f = f.expected("realm")
		case p.proxies():
			f = f.expected("error page")
		}
		findings = append(findings, f)
	}
	return findings
}

// location returns where an answer leads. HAProxy says it as the label does, often by a path
// alone, and Envoy with scheme and host: for clients that is the same.
func (p pair) location(a answer) string {
	text := a.header.Get("Location")
	asked, err := url.Parse(p.subject())
	if text == "" || err != nil {
		return text
	}
	to, err := asked.Parse(text)
	if err != nil {
		return text
	}
	return to.String()
}

// withoutSecrets is a location without what may be a token or a password: its query, its
// fragment, and the user in it.
func withoutSecrets(location string) string {
	if at := strings.IndexAny(location, "?#"); at >= 0 {
		location = location[:at+1] + "…"
	}
	if scheme, rest, ok := strings.Cut(location, "//"); ok {
		authority, path, slash := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			authority = "…" + authority[at:]
		}
		location = scheme + "//" + authority
		if slash {
			location += "/" + path
		}
	}
	return location
}

// scheme is that of a challenge for credentials.
func scheme(challenge string) string {
	word, _, _ := strings.Cut(challenge, " ")
	return strings.ToLower(word)
}

// stickyCookie begins the names of the cookies by which both keep a client on an instance.
const stickyCookie = "mesosphere_server_id"

func (p pair) compareCookies() (findings []Finding) {
	was, wasSticky := cookiesOf(p.old)
	is, isSticky := cookiesOf(p.new)
	f := Finding{Verdict: Different, Kind: Header, Subject: p.subject(), App: p.rules.app}
	if was != is {
		one := f
		one.Old, one.New = "Set-Cookie: "+orNone(was), "Set-Cookie: "+orNone(is)
		findings = append(findings, one)
	}
	f.Kind = Sticky
	switch {
	case wasSticky && isSticky:
		f.Old, f.New = "cookie "+stickyCookie, "a cookie for each app port"
		findings = append(findings, f.expected("sticky"))
	case wasSticky != isSticky:
		f.Old, f.New = onOff(wasSticky), onOff(isSticky)
		findings = append(findings, f)
	}
	return findings
}

// cookiesOf returns the names of cookies that all answers of a side set, without those by
// which a client is kept on an instance.
func cookiesOf(answers []answer) (names string, sticky bool) {
	var all []string
	for _, name := range answers[0].cookies {
		always := !slices.ContainsFunc(answers, func(a answer) bool { return !slices.Contains(a.cookies, name) })
		switch {
		case strings.HasPrefix(name, stickyCookie):
			sticky = true
		case always:
			all = append(all, name)
		}
	}
	return strings.Join(slices.Compact(all), " "), sticky
}

// compareApps says whether the same app answered, as far as answers tell.
func (p pair) compareApps() []Finding {
	f := Finding{Verdict: Different, Kind: Body, Subject: p.subject(), App: p.rules.app}
	if p.proxies() {
		if !slices.EqualFunc(p.old[:1], p.new[:1], func(a, b answer) bool { return string(a.body) == string(b.body) }) {
			f.Old, f.New = "a page of HAProxy", "a page of Relay"
			return []Finding{f.expected("error page")}
		}
		return nil
	}
	for _, name := range identifying {
		value := func(a answer) string { return a.header.Get(name) }
		was, fixed := steady(p.old, value)
		is, alsoFixed := steady(p.new, value)
		if fixed && alsoFixed && was != is {
			f.Old, f.New, f.Reason = name+": "+orNone(was), name+": "+orNone(is), "another app or another version of it seems to answer"
			return []Finding{f}
		}
	}
	status := p.old[0].status
	bodies := compareBodies(bodiesOf(p.old), bodiesOf(p.new))
	told := p.old[0].header.Get("Etag") != "" || p.old[0].header.Get("Location") != "" || p.method == "HEAD" && p.old[0].length > 0
	switch {
	case p.method == "HEAD" && p.old[0].length != p.new[0].length && p.old[0].length == p.old[1].length && p.new[0].length == p.new[1].length:
		f.Old, f.New = fmt.Sprintf("%d bytes", p.old[0].length), fmt.Sprintf("%d bytes", p.new[0].length)
		f.Reason = "another app or another version of it seems to answer"
		return []Finding{f}
	case bodies == otherBody:
		f.Old, f.New = describe(p.old), describe(p.new)
		f.Reason = "another app, another version of it, or an instance that tells who it is seems to answer"
		return []Finding{f}
	case bodies == unclearBody, len(p.old[0].body) == 0 && !told && status < 300, bodies == sameBody && p.rules.otherApp:
		f.Verdict, f.Old, f.New = CannotTell, describe(p.old), describe(p.new)
		f.Reason = "the answers do not tell which app gave them"
		return []Finding{f}
	}
	return nil
}

func bodiesOf(answers []answer) (bodies [][]byte) {
	for _, a := range answers {
		bodies = append(bodies, a.body)
	}
	return bodies
}

// describe says what answers have, without what they say: that may be anything.
func describe(answers []answer) string {
	a := answers[0]
	size := fmt.Sprintf("%d bytes", len(a.body))
	if len(a.body) == maxBody {
		size = fmt.Sprintf("%d bytes or more", len(a.body))
	}
	return fmt.Sprintf("%s of %s", size, orNone(a.header.Get("Content-Type")))
}

func statuses(answers []answer) string {
	var all []string
	for _, a := range answers {
		all = append(all, fmt.Sprint(a.status))
	}
	return strings.Join(slices.Compact(all), ", ")
}

func failures(answers []answer) string {
	var all []string
	for _, a := range answers {
		all = append(all, orAnswers(a.failure, []answer{a}))
	}
	return strings.Join(slices.Compact(all), ", then ")
}

func orAnswers(failure string, answers []answer) string {
	if failure == "" {
		return statuses(answers)
	}
	return failure
}
