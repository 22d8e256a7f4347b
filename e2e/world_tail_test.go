package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// following is a reader of a tail.
type following struct {
	t      testing.TB
	cancel context.CancelFunc
	lines  chan string
	resp   *http.Response
	// first is the notice with which it began, took how long it took to come.
	first api.Notice
	took  time.Duration
}

// follow begins to follow, and waits for the first notice.
func (a *adminClient) follow(subject, more string) *following {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.t.Cleanup(cancel)
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/api/v1/tail?subject="+url.QueryEscape(subject)+more, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	client := http.Client{Transport: a.client.Transport} // without its timeout
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	f := &following{t: a.t, cancel: cancel, lines: make(chan string, 10_000), resp: resp}
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("tail of %s: %s", subject, resp.Status)
	}
	go func() {
		defer close(f.lines)
		defer func() { _ = resp.Body.Close() }()
		for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); {
			f.lines <- scanner.Text()
		}
	}()
	f.first = f.notice()
	f.took = time.Since(began)
	return f
}

func (f *following) line() string {
	f.t.Helper()
	select {
	case line, ok := <-f.lines:
		if !ok {
			f.t.Fatal("the tail has ended")
		}
		return line
	case <-time.After(patience):
		f.t.Fatal("nothing comes")
	}
	return ""
}

func (f *following) notice() api.Notice {
	f.t.Helper()
	for {
		var n api.TailNotice
		if line := f.line(); strings.HasPrefix(line, `{"notice"`) {
			if err := json.Unmarshal([]byte(line), &n); err != nil {
				f.t.Fatal(err)
			}
			return n.Notice
		}
	}
}

// next returns the next request.
func (f *following) next() (q api.Request) {
	f.t.Helper()
	for {
		line := f.line()
		if strings.HasPrefix(line, `{"notice"`) {
			continue
		}
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			f.t.Fatalf("%v: %s", err, line)
		}
		return q
	}
}

// stop ends it, and waits for its end.
func (f *following) stop() {
	f.cancel()
	for range f.lines {
	}
}

var lastUpdated = regexp.MustCompile(`"(last_updated|version_info|sending)": "[^"]*"`)

// scopes returns the scopes that Envoy has, as one text, in any order.
func (e *runningEnvoy) scopes() string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dump, err := e.Get(ctx, "/config_dump?resource=dynamic_scoped_route_configs")
	if err != nil {
		e.t.Fatal(err)
	}
	lines := strings.Split(lastUpdated.ReplaceAllString(dump, ""), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
