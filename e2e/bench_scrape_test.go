package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/internal/relay"
	"relay/xds/xdsload"
)

// BenchmarkScrape measures one answer of /metrics beside many apps and many Envoys.
func BenchmarkScrape(b *testing.B) {
	for _, load := range []struct{ apps, envoys int }{{50, 1}, {50_000, 1}, {50_000, 100}, {1000, 1000}} {
		b.Run(fmt.Sprintf("apps=%d/envoys=%d", load.apps, load.envoys), func(b *testing.B) {
			r := relayOfFiles(b, load.apps)
			names := xdsload.NewNames()
			for i := range load.envoys {
				e, err := xdsload.New(xdsload.Options{Address: r.XDSAddr().String(), Fleet: "external", NodeID: fmt.Sprint("envoy-", i), Names: names})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = e.Close() })
				if err := e.Connect(context.Background()); err != nil {
					b.Fatal(err)
				}
				for deadline := time.Now().Add(2 * time.Minute); e.Count() < load.apps; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						b.Fatalf("Envoy %d has %d resources", i, e.Count())
					}
				}
			}
			size := 0
			for b.Loop() {
				response, err := http.Get(r.AdminURL() + "/metrics")
				if err != nil {
					b.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if size = len(body); err != nil || !strings.Contains(string(body), fmt.Sprintf(`relay_xds_streams{fleet="external"} %d`, load.envoys)) {
					b.Fatalf("%v\n%s", err, body)
				}
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// relayOfFiles runs a Relay with so many apps.
func relayOfFiles(b *testing.B, apps int) *relay.Relay {
	folder := b.TempDir()
	const each = 10_000 // a file has a limit
	for from := 0; from < apps; from += each {
		var text strings.Builder
		text.WriteString("apps:\n")
		for i := from; i < min(from+each, apps); i++ {
			fmt.Fprintf(&text, "- id: /app-%d\n  ports:\n  - domains: [app-%d.test]\n    endpoints: [{address: \"10.0.0.1:%d\"}]\n", i, i, 1024+i%60_000)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.yaml", from)), []byte(text.String()), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	config := relay.Config{
		Apps: relay.Apps{File: folder}, XDS: relay.XDSPort{Address: "127.0.0.1:0"}, Admin: relay.AdminPort{Address: "127.0.0.1:0"},
		Fleets: []relay.Fleet{{Fleet: routing.Fleet{Name: "external", HTTP: netip.MustParseAddrPort("127.0.0.1:80"), Options: routing.DefaultOptions()}}},
	}
	r, err := relay.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	serve(b, r)
	return r
}
