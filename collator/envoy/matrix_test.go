package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// spelt are ways to write a host of a domain.
func spelt(domain string) []string {
	return []string{domain, strings.ToUpper(domain), domain + ".", domain + ":8080", strings.ToUpper(domain[:1]) + domain[1:] + ".:80"}
}

// below are hosts below a wildcard domain, at which open.DOMAIN is another app's.
func below(domain string) []string {
	return []string{"x." + domain, "X.y." + strings.ToUpper(domain), "x.y." + domain + ".:81", "x.open." + domain, "xopen." + domain + "."}
}

// domainsOf are the domains of a row's apps.
func domainsOf(name string) (exact, wildcard string) { return name + ".test", name + "-w.test" }

// canonical is a host as it is in certificates.
func canonical(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	return strings.TrimSuffix(host, ".")
}

// next returns a request to an app of a row.
func (m *matrix) next(r row, host string, in, out []row) asking {
	id := fmt.Sprint("r", m.number.Add(1))
	a := asking{id: id, host: host, sni: canonical(host), method: r.method, path: r.path, header: headers(id, in, out)}
	if a.path == "" {
		a.path = "/x/y?q=1"
	}
	return a
}

// prepare uses a limit up.
func (m *matrix) prepare(t *testing.T, r row, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		for i := 0; ; i++ {
			if a := m.ask(t, ways[0], m.next(r, host, []row{{in: r.out}}, nil)); a.status == http.StatusTooManyRequests {
				break
			} else if i > 20 {
				t.Fatalf("%s: never too much: %d", host, a.status)
			}
		}
	}
}

// TestMatrix holds what each row asks for, however the host is written and the request is sent.
func TestMatrix(t *testing.T) {
	t.Parallel()
	m := startMatrix(t, envoytest.Newest)
	rows := allRows(m.token)
	var open []string
	for _, r := range rows {
		exact, wildcard := domainsOf(r.name)
		m.addRow(r, "/matrix/"+r.name, []string{exact, "*." + wildcard})
		exact, wildcard = domainsOf(r.name + "-grpc")
		m.addRow(r, "/matrix/"+r.name+"-grpc", []string{exact, "*." + wildcard}, "HTTP2=true")
		_, wildcard = domainsOf(r.name)
		open = append(open, "open."+wildcard)
	}
	m.add("/matrix/open", open...)
	m.ready(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			m.testRow(t, r, "/matrix/"+r.name, r.name, ways)
			m.testRow(t, r, "/matrix/"+r.name+"-grpc", r.name+"-grpc", grpcWays)
			_, wildcard := domainsOf(r.name)
			for _, host := range spelt("open." + wildcard) {
				a := m.ask(t, ways[0], m.next(row{}, host, nil, nil))
				if got := m.reached(a.id); got != "/matrix/open" {
					t.Errorf("%s: status %d by %q, want the app beside", host, a.status, got)
				}
			}
		})
	}
}

func (m *matrix) testRow(t *testing.T, r row, app, name string, ways []way) {
	exact, wildcard := domainsOf(name)
	if r.prepare {
		m.prepare(t, r, exact, "x."+wildcard)
	}
	for _, host := range append(spelt(exact), below(wildcard)...) {
		for _, w := range ways {
			m.testOne(t, r, app, host, w)
		}
	}
}

func (m *matrix) testOne(t *testing.T, r row, app, host string, w way) {
	t.Helper()
	refused := func(what string, a asking) {
		t.Helper()
		if got := m.ask(t, w, a); m.reached(a.id) != "" || got.err != nil && !a.large {
			t.Errorf("%s, %s, %s: status %d from %s, %v", w.name, host, what, got.status, m.reached(a.id), got.err)
		}
	}
	if r.shut || r.never {
		if r.out == nil || r.access {
			refused("nothing", m.next(r, host, nil, nil))
		}
		refused("out", m.next(r, host, nil, []row{r}))
	}
	if r.large && w.body && !w.grpc {
		a := m.next(r, host, []row{r}, nil)
		a.large = true
		refused("large", a)
	}
	if r.never {
		return
	}
	a := m.next(r, host, []row{r}, nil)
	got := m.ask(t, w, a)
	s := m.sightOf(a.id, app)
	if s == nil {
		t.Errorf("%s, %s: is not let in: status %d, %v", w.name, host, got.status, got.err)
		return
	}
	if r.holds != nil {
		if missing := r.holds(m, w, got, s); missing != "" {
			t.Errorf("%s, %s: %s", w.name, host, missing)
		}
	}
}

// pairWays are those of requests to apps that ask for two things.
var pairWays = []way{ways[0], ways[2], ways[7], ways[8], ways[9]}

// conflict reports whether no request could have what both rows need, or no app can ask for both.
func conflict(a, b row) bool {
	if a.path != "" || b.path != "" {
		return true
	}
	for _, one := range a.uses {
		if slices.Contains(b.uses, one) {
			return true
		}
	}
	return false
}

// TestMatrixOfPairs holds that each of two things that an app asks for holds beside the other: filters that wait have
// Envoy leave out what follows in their chain.
func TestMatrixOfPairs(t *testing.T) {
	t.Parallel()
	m := startMatrix(t, envoytest.Newest)
	rows := allRows(m.token)
	for i, a := range rows {
		for _, b := range rows[i+1:] {
			if !conflict(a, b) {
				both := a.with(b)
				m.addRow(both, "/matrix/"+both.name, []string{both.name + ".test"})
			}
		}
	}
	m.ready(t)
	for i, a := range rows {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, b := range rows[i+1:] {
				if !conflict(a, b) {
					m.testPair(t, a, b)
				}
			}
		})
	}
}

func (m *matrix) testPair(t *testing.T, a, b row) {
	both := a.with(b)
	app, host := "/matrix/"+both.name, strings.ToUpper(both.name[:1])+both.name[1:]+".test"
	refused := func(w way, what string, ask asking) {
		t.Helper()
		if got := m.ask(t, w, ask); m.reached(ask.id) != "" {
			t.Errorf("%s, %s, %s: status %d from %s", both.name, w.name, what, got.status, m.reached(ask.id))
		}
	}
	if !a.never && !b.never {
		for _, w := range pairWays {
			if a.prepare || b.prepare {
				break
			}
			ask := m.next(both, host, []row{a, b}, nil)
			got := m.ask(t, w, ask)
			s := m.sightOf(ask.id, app)
			if s == nil {
				t.Errorf("%s, %s: is not let in: status %d, %v", both.name, w.name, got.status, got.err)
				continue
			}
			for _, r := range []row{a, b} {
				if r.holds == nil {
					continue
				}
				if missing := r.holds(m, w, got, s); missing != "" {
					t.Errorf("%s, %s: %s", both.name, w.name, missing)
				}
			}
		}
	}
	for _, order := range [][2]row{{a, b}, {b, a}} {
		shut, other := order[0], order[1]
		if shut.prepare && !other.never {
			m.prepareBeside(t, shut, other, host)
		}
		for _, w := range pairWays {
			if shut.prepare && (other.name == "hsts" && w.tls || other.name == "mirror" && w.chunked) {
				continue // has a route of its own, which counts apart
			}
			switch {
			case shut.never:
				refused(w, shut.name, m.next(both, host, []row{other}, nil))
			case shut.shut:
				refused(w, shut.name, m.next(both, host, []row{other}, []row{shut}))
			}
			if shut.large && w.body {
				ask := m.next(both, host, []row{a, b}, nil)
				ask.large = true
				refused(w, shut.name, ask)
			}
		}
	}
}

// prepareBeside uses a limit up by requests that the other row lets in.
func (m *matrix) prepareBeside(t *testing.T, r, other row, host string) {
	t.Helper()
	for range 20 {
		if a := m.ask(t, ways[0], m.next(r, host, []row{other, {in: r.out}}, nil)); a.status == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("%s beside %s: never too much", r.name, other.name)
}

// TestMatrixOfShares holds for requests that several apps share, and for blue/green deployments.
func TestMatrixOfShares(t *testing.T) {
	t.Parallel()
	m := startMatrix(t, envoytest.Newest)
	rows := allRows(m.token)
	for _, r := range rows {
		for _, app := range []string{"a", "b"} {
			m.addRow(r, "/matrix/"+app+"-"+r.name, []string{r.name + ".test"}, "CLUSTER_WEIGHT=50")
			m.addRow(r, "/matrix/g"+app+"-"+r.name, []string{r.name + "-group.test"})
			m.apps[len(m.apps)-1].Deployment = &sources.Deployment{Group: r.name, StartedAt: time.Unix(int64(len(m.apps)), 0), TargetInstances: 2, Instances: 1}
		}
		m.addRow(r, "/matrix/f-"+r.name, []string{r.name + "-first.test"}, "CLUSTER_WEIGHT=1")
		m.addRow(row{}, "/matrix/l-"+r.name, []string{r.name + "-first.test", r.name + "-last.test"}, "CLUSTER_WEIGHT=10000")
		m.addRow(r, "/matrix/m-"+r.name, []string{r.name + "-last.test"}, "CLUSTER_WEIGHT=10000")
	}
	m.ready(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if r.prepare {
				m.prepare(t, r, r.name+".test", r.name+"-group.test", r.name+"-first.test")
			}
			for _, w := range ways {
				hosts := []string{r.name + ".test", r.name + "-Group.test"}
				if !r.shares {
					hosts = append(hosts, r.name+"-first.test.")
				}
				for _, host := range hosts {
					m.testShare(t, r, host, w)
				}
				// What the second asks for costs it its share if the first has no restriction: none reaches it.
				a := m.next(row{}, r.name+"-last.test", nil, nil)
				if m.ask(t, w, a); r.access && m.sightOf(a.id, "/matrix/m-"+r.name) != nil {
					t.Errorf("%s: the app is reached by another's route", w.name)
				}
			}
		})
	}
}

func (m *matrix) testShare(t *testing.T, r row, host string, w way) {
	t.Helper()
	if r.shut || r.never {
		a := m.next(r, host, nil, []row{r})
		if got := m.ask(t, w, a); m.reached(a.id) != "" {
			t.Errorf("%s, %s: status %d from %s", w.name, host, got.status, m.reached(a.id))
		}
	}
	if r.large && w.body {
		a := m.next(r, host, []row{r}, nil)
		a.large = true
		if got := m.ask(t, w, a); m.reached(a.id) != "" {
			t.Errorf("%s, %s: large: status %d from %s", w.name, host, got.status, m.reached(a.id))
		}
	}
	if r.never {
		return
	}
	for range 4 {
		a := m.next(r, host, []row{r}, nil)
		got := m.ask(t, w, a)
		app := m.reached(a.id)
		s := m.sightOf(a.id, app)
		if s == nil {
			t.Errorf("%s, %s: is not let in: status %d, %v", w.name, host, got.status, got.err)
			return
		}
		if r.holds != nil && !r.ofCluster && app != "/matrix/copy" {
			if missing := r.holds(m, w, got, s); missing != "" {
				t.Errorf("%s, %s, %s: %s", w.name, host, app, missing)
			}
		}
	}
}
