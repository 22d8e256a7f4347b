package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin/api"
	"relay/certs/certstest"
	"relay/statuspage"
	"relay/xds/envoytest"
)

func settingsOfPage(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "status-page.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStatusPageSettings(t *testing.T) {
	t.Parallel()
	file := settingsOfPage(t, "services: [{name: Website, domains: ['*']}]\n")
	for _, tt := range []struct {
		page StatusPage
		want string
	}{
		{StatusPage{}, ""},
		{StatusPage{File: file}, ""},
		{StatusPage{File: file, Address: "127.0.0.1:0", Dir: "/d", TLS: PortTLS{CertFile: "c", KeyFile: "k"}}, ""},
		{StatusPage{Address: "127.0.0.1:0"}, "need --status-page-file"},
		{StatusPage{Dir: "/d"}, "need --status-page-file"},
		{StatusPage{File: file, Address: "8080"}, "--status-page: "},
		{StatusPage{File: file, Address: "127.0.0.1:0", TLS: PortTLS{CertFile: "c"}}, "--status-page-cert and --status-page-key go together"},
		{StatusPage{File: file, TLS: PortTLS{CertFile: "c", KeyFile: "k"}}, "with --status-page only"},
	} {
		if err := tt.page.Validate(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.page, err, tt.want)
		}
	}
}

// What cannot be used ends the program at the start, and leaves no port open.
func TestStatusPageThatCannotBe(t *testing.T) {
	t.Parallel()
	good := settingsOfPage(t, "services: [{name: Website, domains: ['*']}]\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct {
		page StatusPage
		want string
	}{
		{StatusPage{File: "/none"}, "--status-page-file: "},
		{StatusPage{File: settingsOfPage(t, "servces: []\n"), Address: "127.0.0.1:0"}, `there is no setting "servces"`},
		{StatusPage{File: good, Address: taken.Addr().String()}, "--status-page " + taken.Addr().String()},
		{StatusPage{File: good, Address: "127.0.0.1:0", TLS: PortTLS{CertFile: "/none", KeyFile: "/none"}}, "--status-page-cert: "},
	} {
		page, err := NewPublicPage(tt.page, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if page != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.page, err, tt.want)
		}
	}
	none, err := NewPublicPage(StatusPage{}, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if none != nil || err != nil || none.Problems() != nil {
		t.Errorf("%v, %v", none, err)
	}
	none.close()
}

// The page is served by TLS, and again after it has ended: its port is opened anew.
func TestStatusPageIsServed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ca := certstest.TestCA(t)
	cert, key := ca.TestIssue(t, []string{"status.test"}, certstest.Options{}).TestPair(t, folder)
	address := fmt.Sprint("127.0.0.1:", envoytest.FreePort(t))
	config := StatusPage{
		File: settingsOfPage(t, "title: Example\nservices: [{name: Website, domains: ['*']}]\n"), Address: address, Dir: folder, StateDir: t.TempDir(),
		TLS: PortTLS{CertFile: cert, KeyFile: key},
	}
	page, err := NewPublicPage(config, nil, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if page.Addr().String() != address {
		t.Errorf("it is at %s, want %s", page.Addr(), address)
	}
	trusting := ca.ClientTLS()
	trusting.ServerName = "status.test"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting}}
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- page.Serve(ctx) }()
		var text []byte
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			r, err := client.Get("https://" + address + "/")
			if err != nil { // the second time the port is opened meanwhile
				continue
			}
			text, err = io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || r.StatusCode != http.StatusOK || r.Proto != "HTTP/1.1" {
				t.Errorf("%s %s, %v", r.Proto, r.Status, err)
			}
			break
		}
		if !strings.Contains(string(text), "<title>Example</title>") {
			t.Errorf("%.200s", text)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if page.Addr() != nil {
		t.Error("the port is open")
	}
}

// A service that no probe is of is among the problems of Relay after some minutes: nobody else would miss it.
func TestUnwatchedServiceIsAProblem(t *testing.T) {
	file := settingsOfPage(t, "services: [{name: Shop, domains: [shpo.test]}]")
	synctest.Test(t, func(t *testing.T) {
		own := func(context.Context) (api.Probes, error) {
			return api.Probes{Time: time.Now(), Interval: 30, Probes: []api.Probe{{ID: "a", Domain: "shop.test", Success: true, Time: time.Now()}}}, nil
		}
		page, err := NewPublicPage(StatusPage{File: file}, own, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- page.Serve(ctx) }()
		time.Sleep(time.Minute)
		if got := page.Problems(); len(got) != 0 {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(10 * time.Minute)
		if got := page.Problems(); len(got) != 1 || !strings.Contains(got[0].Reason, `"Shop"`) {
			t.Errorf("%+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The first answer after a restart has what was known before it.
func TestFirstAnswerAfterARestart(t *testing.T) {
	t.Parallel()
	config := StatusPage{File: settingsOfPage(t, "services: [{name: Shop, domains: [shop.test]}]"), Address: "127.0.0.1:0", StateDir: t.TempDir()}
	up := func(context.Context) (api.Probes, error) {
		return api.Probes{Time: time.Now(), Interval: 30, Probes: []api.Probe{{ID: "a", Domain: "shop.test", Success: true, Time: time.Now()}}}, nil
	}
	blank := func(context.Context) (api.Probes, error) { return api.Probes{Time: time.Now(), Interval: 30}, nil }
	run := func(own statuspage.Probes, until func(text string) bool) {
		page, err := NewPublicPage(config, own, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		address := page.Addr().String()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- page.Serve(ctx) }()
		defer func() { cancel(); <-done }()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			r, err := http.Get("http://" + address + "/status.json")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || until(string(text)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s", text)
			}
		}
	}
	known := func(text string) bool { return strings.Contains(text, `"state": "up",`) }
	run(up, known)
	run(blank, func(text string) bool {
		if !known(text) {
			t.Errorf("the first answer after the restart is %.300s", text)
		}
		return true
	})
}
