package compare

// expectation is a difference that everybody who moves has, and the reason for it.
type expectation string

// expectations has all differences that are expected, and why. A Finding with one of these
// has the verdict Expected; all others are for people to look at.
var expectations = map[expectation]string{
	"suspended":      "Suspended apps keep their domain and answer 503; marathon-lb forgets the domain, and answers 503 as well",
	"unknown domain": "Relay answers 404 to what no rule has; marathon-lb answers 503",
	"sticky":         "the cookie has another name: sticky clients get a new instance once, when they move",
	"balance":        "without BALANCE Relay asks the instance with the fewest requests; marathon-lb the next in turn",
	"HSTS":           "Relay sends the header over HTTPS only, as browsers ignore it on plain HTTP",
	"service port":   "marathon-lb opens the service port of every app; Relay serves an HTTP app by its domains alone",
	"application id": "Relay has no listener that goes by the header X-Marathon-App-Id (port 9091 of marathon-lb)",
	"health":         "Relay serves a task once all of its health checks have succeeded, as Marathon does; for marathon-lb one is enough, and without --health-check none counts",
	"unreachable":    "Relay gives tasks of unreachable agents requests only when too few others are left (--marathon-unreachable)",
	"draining":       "Relay counts the tasks of a deployment group that drain by its own rule",
	"error page":     "Relay and HAProxy have pages of their own for errors",
	"realm":          "the password is asked for in other words",
}

// expected makes the finding one that is expected.
func (f Finding) expected(e expectation) Finding {
	f.Verdict, f.Reason, f.Do = Expected, expectations[e], ""
	if f.Reason == "" {
		panic("compare: no expectation is called " + string(e))
	}
	return f
}
