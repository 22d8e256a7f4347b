package compare_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/compare"
)

// secure serves by TLS with a certificate, and counts the clients that named the server.
func secure(t *testing.T, cert *certstest.Issued, named *atomic.Int64, handler http.Handler) *httptest.Server {
	t.Helper()
	config, err := cert.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "a.test" {
			named.Add(1)
		}
		return nil, nil
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	sides := oneApp(t)
	ca, other := certstest.TestCA(t), certstest.TestCA(t)
	options := certstest.Options{NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	later := certstest.Options{NotAfter: time.Now().Add(60 * 24 * time.Hour)}
	first := ca.TestIssue(t, []string{"a.test"}, options)
	tests := []struct {
		name     string
		old, new *certstest.Issued
		want     string
	}{
		{"the same", first, first, ""},
		{"a renewed one", first, ca.TestIssue(t, []string{"a.test"}, later), "different are the end"},
		{"other names", first, ca.TestIssue(t, []string{"a.test", "b.test"}, options), "the names"},
		{"another domain", first, ca.TestIssue(t, []string{"b.test"}, options), "clients refuse what Relay shows"},
		{"another issuer", first, other.TestIssue(t, []string{"a.test"}, options), "different"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var named atomic.Int64
			old, new := secure(t, test.old, &named, page("x")), secure(t, test.new, &named, page("x"))
			r := ask(t, sides, quick(), compare.Addresses{Old: old.URL, New: new.URL})
			got := brief(r, func(f compare.Finding) string { return f.Reason })
			switch {
			case test.want == "" && len(got) > 0, test.want != "" && (len(got) != 1 || !strings.Contains(got[0], "different certificate https://a.test/") || !strings.Contains(got[0], test.want)):
				t.Errorf("got %v, want %s", got, test.want)
			case named.Load() < 4:
				t.Errorf("%d clients named the server", named.Load())
			}
		})
	}
}

func TestTLSThatFails(t *testing.T) {
	t.Parallel()
	var named atomic.Int64
	old := secure(t, certstest.TestCA(t).TestIssue(t, []string{"a.test"}, certstest.Options{}), &named, page("x"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("no TLS at all, but long enough to be read as a record\n"))
			conn.Close()
		}
	}()
	r := ask(t, oneApp(t), quick(), compare.Addresses{OldHTTPS: old.URL, NewHTTPS: "https://" + l.Addr().String()})
	got := brief(r, func(f compare.Finding) string { return f.Old + " | " + f.New })
	if len(got) != 1 || !strings.HasPrefix(got[0], "different failed https://a.test/ | 200 | the ") {
		t.Errorf("got %v", got)
	}
}
