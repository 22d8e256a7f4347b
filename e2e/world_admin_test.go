package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/admin"
	"relay/collator"
	"relay/internal/files"
	"relay/internal/problem"
	"relay/internal/relay"
	"relay/xds"
)

// adminClient asks the admin endpoint of a Relay.
type adminClient struct {
	t      testing.TB
	url    string
	token  string
	client *http.Client
}

func newAdminClient(t testing.TB) *adminClient {
	a := &adminClient{t: t, client: &http.Client{Timeout: patience}}
	t.Cleanup(a.client.CloseIdleConnections)
	return a
}

// use asks the endpoint at a URL from now on, which is configured so.
func (a *adminClient) use(url string, port relay.AdminPort) {
	a.t.Helper()
	a.client.CloseIdleConnections()
	transport := new(http.Transport)
	a.url, a.token, a.client.Transport = url, "", transport
	if port.TLS.CertFile != "" {
		// Tests of the certificate look at it themselves.
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	if port.TokenFile != "" {
		token, err := files.Secret(port.TokenFile)
		if err != nil {
			a.t.Fatal(err)
		}
		a.token = string(token)
	}
}

// request sends one, and returns the status and the whole answer.
func (a *adminClient) request(method, path string) (int, string, error) {
	req, err := http.NewRequest(method, a.url+path, nil)
	if err != nil {
		return 0, "", err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// get returns a page.
func (a *adminClient) get(path string) (int, string) {
	a.t.Helper()
	status, body, err := a.request(http.MethodGet, path)
	if err != nil {
		a.t.Fatal(err)
	}
	return status, body
}

// read fills a value from JSON; found is false if there is none.
func (a *adminClient) read(path string, into any) (found bool) {
	a.t.Helper()
	status, body := a.get(path)
	if status == http.StatusNotFound {
		return false
	}
	if status != http.StatusOK {
		a.t.Fatalf("%s: status %d: %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		a.t.Fatalf("%s: %v", path, err)
	}
	return true
}

// list is the answer of the JSON API, of which one field is set.
type list struct {
	Apps         []collator.AppView
	Certificates []collator.CertificateView
	Fleets       []admin.FleetView
	Problems     []problem.Problem
	Sources      []admin.SourceView
}

func (a *adminClient) list(name string) (l list) {
	a.t.Helper()
	path := "/api/v1/" + name
	if name == "apps" || name == "certificates" || name == "problems" {
		path += "?limit=10000"
	}
	var keys map[string]json.RawMessage
	if !a.read(path, &keys) || keys[name] == nil || !a.read(path, &l) {
		a.t.Fatalf("%s has no list of %s", path, name)
	}
	return l
}

func (a *adminClient) problems() []problem.Problem { return a.list("problems").Problems }

func (a *adminClient) sources() []admin.SourceView { return a.list("sources").Sources }

func (a *adminClient) certificates() []collator.CertificateView {
	return a.list("certificates").Certificates
}

// app is the app with this id; it has no ports if there is none.
func (a *adminClient) app(id string) (app collator.AppView, known bool) {
	a.t.Helper()
	known = a.read("/api/v1/apps"+id, &app)
	return app, known
}

// fleet is the one of this name.
func (a *adminClient) fleet(name string) admin.FleetView {
	a.t.Helper()
	fleets := a.list("fleets").Fleets
	i := slices.IndexFunc(fleets, func(f admin.FleetView) bool { return f.Name == name })
	if i < 0 {
		a.t.Fatalf("there is no fleet %s", name)
	}
	return fleets[i]
}

// envoys are those of all fleets.
func (a *adminClient) envoys() (all []xds.StreamStatus) {
	a.t.Helper()
	for _, f := range a.list("fleets").Fleets {
		all = append(all, f.Envoys...)
	}
	return all
}

// notReady is why Envoys are not served yet; empty when they are.
func (a *adminClient) notReady() string {
	a.t.Helper()
	status, body := a.get("/readyz")
	switch status {
	case http.StatusOK:
		return ""
	case http.StatusServiceUnavailable:
		return body
	}
	a.t.Fatalf("/readyz: status %d: %s", status, body)
	return ""
}

// envoyProblems are those with what Envoys reject or do not ask for.
func (a *adminClient) envoyProblems() []problem.Problem {
	a.t.Helper()
	return slices.DeleteFunc(a.problems(), func(p problem.Problem) bool { return p.Kind != problem.Envoy })
}

// metrics are the lines of /metrics, once there are some.
func (a *adminClient) metrics() []string {
	a.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		status, body, err := a.request(http.MethodGet, "/metrics")
		if err == nil && status == http.StatusOK {
			return strings.Split(body, "\n")
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("metrics: status %d, %v", status, err)
		}
	}
}

// sum adds up the series of a metric, or gives the one that is named with its labels.
func (a *adminClient) sum(metric string) (sum float64) {
	a.t.Helper()
	series := 0
	for _, line := range a.metrics() {
		var value float64
		if name, rest, ok := strings.Cut(line, " "); ok && (name == metric || strings.HasPrefix(name, metric+"{")) {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				a.t.Fatalf("metric %q: %v", line, err)
			}
			series++
			sum += value
		}
	}
	if series == 0 {
		a.t.Fatalf("there is no metric %s", metric)
	}
	return sum
}

// cluster is that of the first port of an app, empty if none routes it.
func (a *adminClient) cluster(id string) string {
	a.t.Helper()
	var e struct {
		Apps []struct {
			Ports []struct{ Cluster string }
		}
	}
	if !a.read("/api/v1/explain?subject="+id, &e) || len(e.Apps) == 0 || len(e.Apps[0].Ports) == 0 {
		return ""
	}
	return e.Apps[0].Ports[0].Cluster
}

// address is HOST:PORT of the endpoint.
func (a *adminClient) address() string {
	_, address, _ := strings.Cut(a.url, "://")
	return address
}

// metric returns the value of a series; ok is false if there is none.
func (a *adminClient) metric(series string) (value float64, ok bool) {
	a.t.Helper()
	for _, line := range a.metrics() {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			if value, err := strconv.ParseFloat(rest, 64); err == nil {
				return value, true
			}
			a.t.Fatal(line)
		}
	}
	return 0, false
}

// explain runs relay explain against the world's Relay.
func (a *adminClient) explain(args ...string) (status int, out, err string) {
	a.t.Helper()
	return command(a.t, append([]string{"explain", "--admin", a.url}, args...)...)
}

// has waits until all pages together have each text.
func (a *adminClient) has(texts ...string) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("%q", texts), func() error {
		pages := a.pages()
		for _, text := range texts {
			if !strings.Contains(pages, text) {
				return fmt.Errorf("no page has %q", text)
			}
		}
		return nil
	})
}

// problemsOf are those of a subject, such as an app.
func (a *adminClient) problemsOf(subject string) []problem.Problem {
	return slices.DeleteFunc(a.problems(), func(p problem.Problem) bool { return p.Subject != subject })
}

// settledTypes waits until Envoy has acknowledged all there is of these types.
func (a *adminClient) settledTypes(types ...string) {
	a.t.Helper()
	eventually(a.t, "acknowledged", func() error {
		for _, s := range a.envoys() {
			for _, t := range s.Types {
				for _, name := range types {
					if t.Type.String() == name && (t.Behind > 0 || t.InFlight) {
						return fmt.Errorf("%+v", t)
					}
				}
			}
		}
		return nil
	})
}

// awaitNotReady waits until /readyz refuses with these words.
func (a *adminClient) awaitNotReady(words string) {
	a.t.Helper()
	eventually(a.t, "not ready", func() error {
		if reason := a.notReady(); !strings.Contains(reason, words) {
			return fmt.Errorf("%q", reason)
		}
		return nil
	})
}

// awaitReady waits until /readyz says that all is served.
func (a *adminClient) awaitReady() {
	a.t.Helper()
	eventually(a.t, "ready", func() error {
		if reason := a.notReady(); reason != "" {
			return errors.New(reason)
		}
		return nil
	})
}

// hook posts to a hook of the admin endpoint and returns the status.
func (a *adminClient) hook(name string) int {
	a.t.Helper()
	status, _ := a.post(name)
	return status
}

// problem waits for a problem of the subject whose text has the words.
func (a *adminClient) problem(subject, words string) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("a problem of %s that says %q", subject, words), func() error {
		all := a.problems()
		for _, p := range all {
			if strings.HasSuffix(p.Subject, subject) && strings.Contains(p.Item+": "+p.Reason, words) {
				return nil
			}
		}
		return fmt.Errorf("problems are %+v", all)
	})
}

// post calls a hook and returns its whole answer.
func (a *adminClient) post(name string) (int, string) {
	a.t.Helper()
	status, body, err := a.request(http.MethodPost, "/_mlb_signal/"+name)
	if err != nil {
		a.t.Fatal(err)
	}
	return status, body
}

// pages is all that the admin endpoint shows.
func (a *adminClient) pages() string {
	a.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/", "/metrics", "/readyz", "/api/v1/problems", "/api/v1/sources", "/api/v1/certificates", "/api/v1/fleets", "/api/v1/uncovered", "/api/v1/explain?subject=a.test", "/problems", "/changes", "/failures", "/envoys", "/certificates", "/domains/a.test"} {
		_, body := a.get(path)
		all.WriteString(body)
	}
	return all.String()
}

func (a *adminClient) readyStatus() int {
	a.t.Helper()
	status, _ := a.get("/readyz")
	return status
}

// noProblems waits until nothing is wrong any more.
func (a *adminClient) noProblems() {
	a.t.Helper()
	eventually(a.t, "no problems", func() error {
		if all := a.problems(); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}
