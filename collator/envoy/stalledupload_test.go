package envoy_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"relay/sources"
)

// An app whose workers are all busy reads nothing of an upload for a while, and then takes it.
// Its kernel has confirmed what fits into its buffer, and answers Envoy's probes.
func TestStalledUpload(t *testing.T) {
	t.Parallel()
	const busy = 15 * time.Second
	e := startEnvoy(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("%d bytes were read: %v", n, err)
		}
	})}
	accept := time.AfterFunc(busy, func() { _ = server.Serve(l) })
	t.Cleanup(func() { accept.Stop(); _ = l.Close(); _ = server.Close() })
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		changed(webApp("/busy", "busy.test"), func(p *sources.Port) { p.Endpoints = endpoints(l.Addr().String()) }),
		e.app("/ready", "ready.test"),
	})
	e.eventually(t, request{host: "ready.test", path: "/"}, fromApp("/ready"))
	// More than the buffers of both kernels and of Envoy hold.
	upload := newRequest(t, http.MethodPost, "busy.test", make([]byte, 32<<20))
	answer, err := e.client(t, false).Do(upload)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", answer.StatusCode)
	}
}
