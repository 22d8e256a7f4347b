package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
)

// fakeVault answers like Vault for one mount, "secret", on connections in
// memory, so that it works with synctest. It plays what a real one cannot be
// made to do: lagging replicas, redirects, failures in the middle.
type fakeVault struct {
	mu      sync.Mutex
	live    map[string]any
	version int
	entries map[string][]map[string]string // versions from 1 on; nil when deleted
	// authorities are the entries of authorities of clients.
	authorities map[string][]map[string]string
	requests    []string
	// intercept answers instead of the fake when it returns true.
	intercept func(http.ResponseWriter, *http.Request) bool
}

func newFakeVault() *fakeVault {
	return &fakeVault{live: make(map[string]any), entries: make(map[string][]map[string]string), authorities: make(map[string][]map[string]string)}
}

func (f *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	request := r.Method + " " + r.URL.RequestURI()
	f.requests = append(f.requests, request)
	if f.intercept != nil && f.intercept(w, r) {
		return
	}
	switch {
	case r.URL.Path == "/v1/sys/internal/ui/mounts/secret":
		reply(w, 200, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	case r.URL.Path == "/v1/auth/token/lookup-self":
		reply(w, 200, `{"data":{"ttl":0,"renewable":false}}`)
	case r.URL.Path == "/v1/secret/data/live":
		f.serve(w, f.live, f.version, f.version > 0 && f.live != nil)
	case path.Dir(r.URL.Path) == "/v1/secret/data/certificates":
		f.serveEntry(w, r, f.entries)
	case path.Dir(r.URL.Path) == "/v1/secret/data/authorities":
		f.serveEntry(w, r, f.authorities)
	case r.URL.Path == "/v1/secret/metadata/authorities" && r.URL.Query().Get("list") == "true":
		if len(f.authorities) == 0 {
			reply(w, 404, `{"errors":[]}`)
			return
		}
		keys, _ := json.Marshal(slices.Sorted(maps.Keys(f.authorities)))
		reply(w, 200, `{"data":{"keys":`+string(keys)+`}}`)
	default:
		reply(w, 404, `{"errors":["no handler for route"]}`)
	}
}

func (f *fakeVault) serveEntry(w http.ResponseWriter, r *http.Request, entries map[string][]map[string]string) {
	versions := entries[path.Base(r.URL.Path)]
	n, err := strconv.Atoi(r.URL.Query().Get("version"))
	if err != nil {
		n = len(versions)
	}
	if n < 1 || n > len(versions) {
		reply(w, 404, `{"errors":[]}`)
		return
	}
	f.serve(w, versions[n-1], n, versions[n-1] != nil)
}

func (f *fakeVault) serve(w http.ResponseWriter, data any, version int, found bool) {
	if version == 0 {
		reply(w, 404, `{"errors":[]}`)
		return
	}
	status := 200
	if !found {
		data, status = nil, 404
	}
	body, err := json.Marshal(map[string]any{"data": map[string]any{"data": data, "metadata": map[string]any{"version": version}}})
	if err != nil {
		panic(err)
	}
	reply(w, status, string(body))
}

func reply(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// store writes a certificate's entry and returns its version.
func (f *fakeVault) store(name string, issued *certstest.Issued) int {
	return f.storeFields(name, map[string]string{"privkey": string(issued.Key), "cert": string(issued.Leaf), "chain": string(issued.Chain)})
}

func (f *fakeVault) storeFields(name string, fields map[string]string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries[name] = append(f.entries[name], fields)
	return len(f.entries[name])
}

// setLive writes one value of "live"; nil removes it.
func (f *fakeVault) setLive(name string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.version++; value == nil {
		delete(f.live, name)
	} else {
		f.live[name] = value
	}
}

func (f *fakeVault) publish(t *testing.T, name string, issued *certstest.Issued) {
	t.Helper()
	value, err := vaulttest.LiveEntry(f.store(name, issued), issued)
	if err != nil {
		t.Fatal(err)
	}
	f.setLive(name, value)
}

// change edits the fake under its lock.
func (f *fakeVault) change(edit func(*fakeVault)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

// take returns the requests since the last call.
func (f *fakeVault) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.requests = nil }()
	return slices.Clone(f.requests)
}

// network connects clients to handlers by host name, without sockets.
type network struct{ listeners map[string]*memoryListener }

func newNetwork(t *testing.T, hosts map[string]http.Handler) *network {
	n := &network{listeners: make(map[string]*memoryListener)}
	for host, handler := range hosts {
		l := &memoryListener{host: host, accepted: make(chan net.Conn), closed: make(chan struct{})}
		n.listeners[host+":80"] = l
		server := httptest.NewUnstartedServer(handler)
		_ = server.Listener.Close()
		server.Listener = l
		server.Start()
		t.Cleanup(server.Close)
	}
	return n
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	l := n.listeners[address]
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	client, server := net.Pipe()
	select {
	case l.accepted <- server:
		return client, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	return nil, fmt.Errorf("dial %s: connection refused", address)
}

type memoryListener struct {
	host     string
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr(l.host) }

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

func countPrefix(requests []string, prefix string) int {
	n := 0
	for _, r := range requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}
