package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// publicPage has Relay carry a status page, and returns where, and the folder of its files.
func (r *runningRelay) publicPage(settings string) (url, dir string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "status-page.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		r.t.Fatal(err)
	}
	p := &r.config.StatusPage
	p.File, p.Address, p.Dir = file, freeAddress(r.t), r.t.TempDir()
	return "http://" + p.Address, p.Dir
}

// read returns the status and the text of an answer.
func read(client *http.Client, url string) (int, string, error) {
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

// The page is served and written, tells nothing that is not for the public, and has nothing of the admin endpoint. A folder
// that goes away is a problem of Relay's, once.
func TestPublicPage(t *testing.T) {
	w := newWorld(t)
	url, dir := w.relay.publicPage("title: Example\nservices: [{name: Website, domains: ['*.test']}]\n")
	w.marathon.deploy(app("/internal/secret", "shop.test", 1, "HAPROXY_0_NONSENSE", "internal-secret"))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/internal/secret")
	for _, path := range []string{"/", "/feed.atom", "/feed.rss", "/status.json"} {
		status, text, err := read(http.DefaultClient, url+path)
		if err != nil || status != http.StatusOK || !strings.Contains(text, "Example") {
			t.Errorf("%s: %d, %v: %s", path, status, err, text)
		}
		for _, secret := range []string{"internal", "shop.test", "127.0.0.1", "external", "envoy"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", path, secret)
			}
		}
	}
	for _, path := range []string{"/metrics", "/api/v1/status", "/healthz", "/debug/pprof/", "/apps"} {
		if status, _, err := read(http.DefaultClient, url+path); err != nil || status != http.StatusNotFound {
			t.Errorf("the public gets %s: %d, %v", path, status, err)
		}
	}
	w.eventually("the files are written", func() error {
		_, err := os.Stat(filepath.Join(dir, "index.html"))
		return err
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.admin.problem("status-page-dir", "make the folder")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.eventually("the files are written again", func() error {
		_, err := os.Stat(filepath.Join(dir, "index.html"))
		return err
	})
}

// publicCrowd is how many clients take a connection each, and say nothing.
const publicCrowd = 10_000

// However many connect to the public page, ask for it or send half a request, Envoys stay connected and get what changes.
func TestPublicCrowd(t *testing.T) {
	w := newWorld(t)
	url, _ := w.relay.publicPage("services: [{name: Website, domains: ['*.test']}]\n")
	address := strings.TrimPrefix(url, "http://")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	before := w.admin.streams(1)[0].Since

	crowd := connectAll(t, address)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() { askUntil(stop, url) })
	}
	for i := range 5 {
		id := fmt.Sprintf("/new-%d", i)
		begun := time.Now()
		w.marathon.deploy(app(id, fmt.Sprintf("new-%d.test", i), 1))
		w.clients.expect(fmt.Sprintf("http://new-%d.test/", i), http.StatusOK, id)
		t.Logf("the change %d took %s", i, time.Since(begun))
	}
	held := <-crowd
	w.eventually("most connections are closed", func() error {
		closed := w.admin.sum("relay_status_page_refused_total")
		if want := float64(publicCrowd - 1000); closed < want {
			return fmt.Errorf("%g of %g", closed, want)
		}
		return nil
	})
	w.eventually("somebody who asks is answered", func() error {
		status, _, err := read(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}, url+"/")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	close(stop)
	asking.Wait()
	for _, c := range held {
		_ = c.Close()
	}
	if after := w.admin.streams(1)[0].Since; !after.Equal(before) {
		t.Errorf("Envoy connected again at %s, it was connected since %s", after, before)
	}
	if lines := w.relay.log.Lines("127.0.0.1"); len(lines) > 100 {
		t.Errorf("the log has %d lines of what the public did", len(lines))
	}
}

// connectAll opens connections, of which every second one sends half a request, and gives them when all are open.
func connectAll(t *testing.T, address string) <-chan []net.Conn {
	t.Helper()
	done := make(chan []net.Conn, 1)
	go func() {
		var mu sync.Mutex
		var all []net.Conn
		var dialing sync.WaitGroup
		for range 50 {
			dialing.Go(func() {
				for i := range publicCrowd / 50 {
					c, err := net.DialTimeout("tcp", address, patience)
					if err != nil {
						t.Error(err)
						return
					}
					if i%2 == 0 {
						_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a") // it may be closed already
					}
					mu.Lock()
					all = append(all, c)
					mu.Unlock()
				}
			})
		}
		dialing.Wait()
		done <- all
	}()
	return done
}

// askUntil asks for the page again and again, on one connection as long as it is let.
func askUntil(stop <-chan struct{}, url string) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for {
		select {
		case <-stop:
			return
		case <-time.After(4 * time.Millisecond):
			_, _, _ = read(client, url+"/") // refused or not
		}
	}
}
