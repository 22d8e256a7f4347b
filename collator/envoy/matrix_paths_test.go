package envoy_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"relay/xds/envoytest"
)

// A body that is too large is refused while somebody is asked about its request, and no request waits for what
// Envoy does not read.
func TestLargeBodiesWhileAnAppIsAsked(t *testing.T) {
	t.Parallel()
	m := startMatrix(t, envoytest.Newest)
	limits := []string{"1kB", "300kB", "1100kB", "2MB", "2049kB", "3MB", "16MB"}
	for _, limit := range limits {
		m.add("/matrix/"+limit, limit+".test")
		m.apps[len(m.apps)-1] = set(t, m.apps[len(m.apps)-1], "MAX_REQUEST_BODY="+limit, "AUTH_APP=/matrix/sso")
	}
	m.ready(t)
	for _, limit := range limits {
		most := 0
		_, _ = fmt.Sscan(strings.TrimRight(limit, "kMB"), &most)
		if most <<= 10; strings.HasSuffix(limit, "MB") {
			most <<= 10
		}
		for _, w := range []way{ways[2], ways[5]} {
			for _, more := range []int{0, 1, 9 << 10, 3 << 20} {
				a := m.next(row{}, limit+".test", []row{{in: map[string]string{"Cookie": "user=joe"}}}, nil)
				a.size = most + more
				if got := m.ask(t, w, a); (got.status == 200) != (more == 0) || (m.reached(a.id) != "") != (more == 0) {
					t.Errorf("%s of %s by %s: %+v", fmt.Sprint(a.size), limit, w.name, got)
				}
			}
		}
	}
}

// moreTricks are ways to write a path beyond pathsToAdmin.
var moreTricks = []string{
	"/admin%00", "/%00/../admin", "/x%00/%2e%2e/admin", "/ADMIN", "/Admin/x", "/%41dmin", "/admin#x", "/#/admin", "/x#/../admin", "/admin?x", "/?/admin", "/x?/../admin",
	"/%2561dmin", "/admin%20", "/admin.", "/admin%2e", "/%5c%5cadmin", "/x/%5c..%5cadmin", "/admin%5c..%5cx", "/admin/../x", "/admin/%2e%2e/x", "*", "/*", "/admin/*",
}

// targets are request targets of the path.
func targets(path, host string) []string {
	return []string{path, "http://" + host + path, "HTTP://" + strings.ToUpper(host) + path, "http://" + host + ":80" + path}
}

// TestMatrixOfPaths holds that no way to write a path gets around what an app asks for a path, while another has the rest
// of the domain.
func TestMatrixOfPaths(t *testing.T) {
	t.Parallel()
	m := startMatrix(t, envoytest.Newest)
	rows := slices.Concat(accessRows(m.token), limitRows())
	rows = slices.DeleteFunc(rows, func(r row) bool {
		return !r.access && r.name != "body" && r.name != "headers" // which have no guard, or whose limits count apart
	})
	for _, r := range rows {
		m.addRow(r, "/matrix/"+r.name, []string{r.name + ".test", "*." + r.name + ".test"}, "PATH=/admin")
		m.addRow(row{}, "/matrix/"+r.name+"-rest", []string{r.name + ".test", "*." + r.name + ".test"})
		m.addRow(r, "/matrix/"+r.name+"-i", []string{r.name + "-i.test"}, "PATH=-i /admin")
		m.addRow(row{}, "/matrix/"+r.name+"-i-rest", []string{r.name + "-i.test"})
	}
	m.ready(t)
	seed := cmp.Or(*oddSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	odd := oddPaths(rand.New(rand.NewPCG(seed, 0)), 150)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, host := range []string{r.name + ".test", "X." + r.name + ".test.", strings.ToUpper(r.name) + "-i.test"} {
				for _, path := range slices.Concat(pathsToAdmin, moreTricks, odd) {
					m.testPath(t, r, host, path)
				}
			}
		})
	}
}

// testPath sends a request that the row keeps out, and looks whether an app got it by another rule.
func (m *matrix) testPath(t *testing.T, r row, host, path string) {
	t.Helper()
	looked, _, _ := strings.Cut(path, "?")
	looked, _, _ = strings.Cut(looked, "#")
	meant, climbs := understood(looked)
	if strings.HasSuffix(canonical(host), "-i.test") {
		meant = strings.ToLower(meant)
	}
	secret := climbs || meant == "/admin" || strings.HasPrefix(meant, "/admin/")
	ask := func(id string, header http.Header) string {
		var lines strings.Builder
		_ = header.Write(&lines)
		return fmt.Sprintf("X-Matrix: %s\r\nConnection: close\r\n%s", id, lines.String())
	}
	for i, target := range targets(path, canonical(host)) {
		if i > 0 && !strings.HasPrefix(path, "/") {
			continue
		}
		a := m.next(row{}, host, nil, []row{r})
		body := ""
		if r.large {
			body = "Transfer-Encoding: chunked\r\n\r\n" + "2000\r\n" + strings.Repeat("b", 0x2000) + "\r\n0\r\n"
		}
		method := map[bool]string{true: "POST", false: "GET"}[r.large]
		if path == "*" {
			method = "OPTIONS"
		}
		_, _ = say(m.fleet.HTTP.String(), method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\n"+ask(a.id, a.header)+body+"\r\n")
		m.notReached(t, a.id, "HTTP/1.1", host, target, secret)
	}
	a := m.next(row{}, host, nil, []row{r})
	c := dialHTTP2(t, m.fleet.HTTP.String())
	fields := []string{":method", "GET", ":scheme", "http", ":authority", host, ":path", path, "x-matrix", a.id}
	if r.large {
		fields[1] = "POST"
	}
	for name, values := range a.header {
		fields = append(fields, strings.ToLower(name), values[0])
	}
	stream := c.send(!r.large, fields...)
	if r.large {
		_ = c.framer.WriteData(stream, true, make([]byte, 8<<10))
	}
	_, _ = c.receive(stream)
	m.notReached(t, a.id, "HTTP/2", host, path, secret)
}

func (m *matrix) notReached(t *testing.T, id, by, host, path string, secret bool) {
	t.Helper()
	if app := m.reached(id); app != "" && (secret || !strings.HasSuffix(app, "-rest")) {
		t.Errorf("%s, %s, %q reaches %s", by, host, path, app)
	}
}

// TestMatrixOfOlderEnvoys holds that Envoys that lack filters keep out whom these would.
func TestMatrixOfOlderEnvoys(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[1:] {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			m := startMatrix(t, version)
			var rows []row
			for _, r := range accessRows(m.token) {
				if r.access {
					rows = append(rows, r)
				}
			}
			for i, r := range rows {
				m.addRow(r, "/matrix/"+r.name, []string{r.name + ".test", "*." + r.name + "-w.test"})
				m.addRow(r, "/matrix/"+r.name+"-part", []string{r.name + "-part.test"}, "PATH=/admin")
				m.add("/matrix/"+r.name+"-rest", r.name+"-part.test")
				for _, other := range rows[i+1:] {
					if !conflict(r, other) {
						both := r.with(other)
						m.addRow(both, "/matrix/"+both.name, []string{both.name + ".test"})
					}
				}
				for _, other := range shapingRows() {
					if other.name != "wake" && !conflict(r, other) {
						both := r.with(other)
						m.addRow(both, "/matrix/"+both.name, []string{both.name + ".test"})
					}
				}
			}
			m.ready(t)
			m.testOlder(t, rows)
		})
	}
}

func (m *matrix) testOlder(t *testing.T, rows []row) {
	refused := func(w way, a asking) {
		t.Helper()
		if got := m.ask(t, w, a); m.reached(a.id) != "" {
			t.Errorf("%s, %s%s: status %d from %s", w.name, a.host, a.path, got.status, m.reached(a.id))
		}
	}
	some := []way{ways[0], ways[2], ways[7], ways[8], ways[9]}
	for i, r := range rows {
		for _, w := range some {
			for _, host := range append(spelt(r.name+".test"), below(r.name+"-w.test")...) {
				refused(w, m.next(r, host, nil, []row{r}))
			}
			for _, path := range []string{"/admin", "//admin", "/%61dmin", "/x/..;/admin", "/;/admin", "/admin/x"} {
				r.path = path
				refused(w, m.next(r, r.name+"-part.test", nil, []row{r}))
				r.path = ""
			}
			for _, other := range slices.Concat(rows[i+1:], shapingRows()) {
				if conflict(r, other) || other.name == "wake" {
					continue
				}
				host := r.name + "--" + other.name + ".test"
				refused(w, m.next(r, host, []row{other}, []row{r}))
				if other.access {
					refused(w, m.next(r, host, []row{r}, []row{other}))
				}
			}
		}
	}
}
