package device

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/probe"
)

func get(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A stranger does not pass for the agent, a second call is nobody's, and neither is one that comes late.
func TestStrangeCalls(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	urls := make(chan string, 1)
	t.Run("of a stranger", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.limits(8 * time.Second)
		w.device.Limits.HTTPFromAgent = 4 * time.Second // a busy machine may take long for the calls of the stranger
		agentInstead("/calls", func(_ http.ResponseWriter, r *http.Request) {
			to := r.URL.Query().Get("to")
			for _, url := range []string{to + "x", w.callback.URL, w.callback.URL + "?token=x", to[:len(to)-2]} {
				if got := get(t, client, url); got != http.StatusNotFound {
					t.Errorf("a stranger gets %d", got)
				}
			}
			urls <- to
		})(w)
		w.start()
		fails(t, w.probe(), HTTPFromAgent, "no call came from the agent within 4s, but 4 to paths that nobody waits for")
		// Late: the run is over.
		if got := get(t, client, <-urls); got != http.StatusNotFound || w.prober.UnknownCalls() != 5 {
			t.Errorf("a late call gets %d", got)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		agentInstead("/calls", func(_ http.ResponseWriter, r *http.Request) {
			if first, second := get(t, client, r.URL.Query().Get("to")), get(t, client, r.URL.Query().Get("to")); first != 204 || second != 404 {
				t.Errorf("the calls get %d and %d", first, second)
			}
		})(w)
		w.start()
		if r := w.probe(); !r.OK || w.prober.UnknownCalls() != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("though the agent's answer is bad", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		agentInstead("/calls", func(rw http.ResponseWriter, r *http.Request) {
			get(t, client, r.URL.Query().Get("to"))
			rw.WriteHeader(http.StatusInternalServerError)
		})(w)
		w.start()
		if r := w.probe(); !r.OK {
			t.Errorf("%+v", r)
		}
	})
}

// A probe whose own address is not served says so, and asks no agent to call it.
func TestCallsAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.prober.callbacks.serving.Store(false)
	fails(t, w.probe(), HTTPFromAgent, "the probe's own address is not served")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	w.callback.Listen = taken.Addr().String()
	w.device.Limits.HTTPFromAgent = 50 * time.Millisecond
	w.prober = New(w.prober.options)
	w.prober.devices[w.device.Name] = &device{w.device}
	fails(t, w.probe(), HTTPFromAgent, "the probe's own address is not served")
	if err := New(Options{Callback: w.callback}).Serve(t.Context()); err == nil {
		t.Error("it serves where another one does")
	}
}

// The probe's own address may be one by HTTPS, whose certificate is renewed.
func TestCallsByHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issue := func(serial int64) {
		issued := w.ca.TestIssue(t, []string{"probe.test"}, certstest.Options{Serial: serial})
		w.write("probe.pem", certstest.Join(issued.Leaf, issued.Chain))
		w.write("probe.key", issued.Key)
	}
	issue(81)
	w.callback.Certificate, w.callback.Key = w.path("probe.pem"), w.path("probe.key")
	w.callback.URL = "https" + strings.TrimPrefix(w.callback.URL, "http")
	config := w.ca.ClientTLS()
	config.ServerName = "probe.test"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}}
	agentInstead("/calls", func(_ http.ResponseWriter, r *http.Request) { get(t, client, r.URL.Query().Get("to")) })(w)
	w.start()
	if r := w.probe(); !r.OK {
		t.Fatal(r.Reason)
	}
	issue(82)
	conn, err := tls.Dial("tcp", w.callback.Listen, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 82 {
		t.Errorf("it shows the certificate %d", got)
	}
}

// Clients who say nothing, or too much, take the place of no agent.
func TestHostileCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for range probe.MaxDevices + 100 {
		conn, err := net.Dial("tcp", w.callback.Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	if r := w.probe(); !r.OK {
		t.Error(r.Reason)
	}
	conn, err := net.Dial("tcp", w.callback.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 431" {
		t.Errorf("%s, %v", head, err)
	}
	// The server closes it a moment later, lest the answer is lost.
	eventually(t, "the connection is closed", func() bool {
		_, err := conn.Write([]byte("x"))
		return err != nil
	})
}
