package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// labelledWith are what tenants ask for, a set of labels each, of which BenchmarkLabels gives apps some. What restricts
// access is let be as it is: nobody asks these apps.
var labelledWith = []struct {
	name   string
	labels map[string]string
}{
	{"rate-limit", map[string]string{"RELAY_0_RATE_LIMIT": "100/s burst 200"}},
	{"cors", map[string]string{"RELAY_0_CORS_ORIGINS": "https://a.test https://*.b.test", "RELAY_0_CORS_METHODS": "PUT DELETE"}},
	{"auth-app", map[string]string{"RELAY_0_AUTH_APP": "/group-0/app-0 /check", "RELAY_0_AUTH_APP_RESPONSE_HEADERS": "X-User"}},
	{"compress", map[string]string{"RELAY_0_COMPRESS": "true"}},
	{"redirect", map[string]string{"RELAY_0_REDIRECT": "/old/* -> /new/*"}},
	{"password", map[string]string{"HAPROXY_0_AUTH": "r:joe:$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"}},
	{"rate-limit-per-client", map[string]string{"RELAY_0_RATE_LIMIT_PER_CLIENT": "10/s burst 20"}},
	{"path-rewrite", map[string]string{"RELAY_0_PATH_REWRITE": `/(.*) -> /x/\1`}},
	{"jwt", map[string]string{"RELAY_0_JWT_ISSUER": "https://login.test", "RELAY_0_JWT_JWKS": "keys", "RELAY_0_JWT_AUDIENCES": "shop", "RELAY_0_JWT_CLAIMS_TO_HEADERS": "sub: X-User"}},
	{"max-request-body", map[string]string{"RELAY_0_MAX_REQUEST_BODY": "10MB"}},
	{"mirror", map[string]string{"RELAY_0_MIRROR": "/group-0/app-0 5%"}},
	{"outlier-detection", map[string]string{"RELAY_0_OUTLIER_DETECTION": "5 30s"}},
}

// BenchmarkLabels measures what labels take in an Envoy: its memory, and the time until it has everything, with 10 000
// apps without any, with one each, and with three different ones each.
func BenchmarkLabels(b *testing.B) {
	row := func(name string, labels func(app int) map[string]string) {
		b.Run(name, func(b *testing.B) {
			apps := benchFiller(manyApps, "test")
			for i := range apps {
				apps[i].Definition = withLabels(b, apps[i].Definition, labels(i))
			}
			benchmarkLabels(b, apps)
		})
	}
	row("none", func(int) map[string]string { return nil })
	row("three", func(app int) map[string]string {
		all := make(map[string]string)
		for k := range 3 {
			for name, value := range labelledWith[(app+4*k)%len(labelledWith)].labels {
				all[name] = value
			}
		}
		return all
	})
	for _, one := range labelledWith {
		row(one.name, func(int) map[string]string { return one.labels })
	}
}

// withLabels adds labels to the definition of an app.
func withLabels(b *testing.B, definition string, labels map[string]string) string {
	b.Helper()
	var app map[string]any
	if err := json.Unmarshal([]byte(definition), &app); err != nil {
		b.Fatal(err)
	}
	all := app["labels"].(map[string]any)
	for name, value := range labels {
		all[name] = value
	}
	all["RELAY_0_USED_BY"] = "*" // so that it may be named
	text, err := json.Marshal(app)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

func benchmarkLabels(b *testing.B, apps []marathontest.App) {
	w := newBenchWorld(b, marathontest.Options{}, apps...)
	folder := b.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "keys"), []byte(`{"keys":[{"kty":"RSA","kid":"1","alg":"RS256","n":"ndsRBXSUlhfygphdYRGmHlen2-v6ockh3gz_IgRfM_fIEAKw2yBdWgxatzOB62fQo-A9usCUuhtvPERkIh1pslbI2h2znavz1tUcP5iDv60Z5b9UK1O0428OKiC-1OnjprNBty0slJm0t2B-9N6QV9hGJ750_kysZbk9K5JJd7NIDqFHlWg4SuAarwgLkap3zYsBH_dIC0y30GNK27NaMaGAyUMlSpLCo4hxeQ_eaepIVH8nsi57pQBbww5xO9g1FhQ0igRAV70ZeANPSnn9VzJSFAWXYc2CYdipY4ujcVT1lONxcg36DGhT1ptLRcQ0i0-INo113x8ngP0lVF4bLQ","e":"AQAB","use":"sig"}]}`), 0o600); err != nil {
		b.Fatal(err)
	}
	p := w.startProcess("--credentials-dir", folder)
	p.awaitSyncs(1)
	p.settle()
	var ready, cpu time.Duration
	var memory, relay int64
	for b.Loop() {
		start := time.Now()
		envoy := envoytest.Start(b, envoytest.Options{XDS: []string{w.config.XDS.Address}})
		w.within(func(ctx context.Context) error { return hasAll(ctx, envoy, len(apps)) })
		ready += time.Since(start)
		of := procfs{b, envoy.Pid()}
		cpu += of.cpu()
		time.Sleep(time.Second)
		memory += of.memory("VmRSS")
		relay += p.memory("VmRSS")
		if n := rejections(b, envoy); n != 0 {
			b.Errorf("Envoy rejected %d responses", n)
		}
		envoy.Kill()
	}
	b.ReportMetric(ready.Seconds()/float64(b.N), "ready-s")
	b.ReportMetric(cpu.Seconds()/float64(b.N), "envoy-cpu-s")
	b.ReportMetric(float64(memory)/float64(b.N)/1e6, "envoy-MB")
	b.ReportMetric(float64(relay)/float64(b.N)/1e6, "relay-MB")
	b.ReportMetric(0, "ns/op")
}

// hasAll waits until an Envoy is ready, and has so many clusters and scopes.
func hasAll(ctx context.Context, envoy *envoytest.Envoy, n int) error {
	if err := envoy.WaitReady(ctx); err != nil {
		return err
	}
	for {
		counts, err := counted(ctx, envoy, `^(cluster_manager\.active_clusters|http\.http\.scoped_rds\.domains\.all_scopes)$`)
		if err != nil {
			return err
		}
		done := len(counts) == 2
		for _, count := range counts {
			done = done && count >= int64(n)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("has %v of %d: %w", counts, n, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// counted returns some of an Envoy's stats. Envoy picks them: all of them are hundreds of thousands.
func counted(ctx context.Context, envoy *envoytest.Envoy, pattern string) (counts []int64, err error) {
	text, err := envoy.Get(ctx, "/stats?filter="+url.QueryEscape(pattern))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// rejections is how many responses of Relay an Envoy has rejected.
func rejections(b *testing.B, envoy *envoytest.Envoy) (n int64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	counts, err := counted(ctx, envoy, `(cds|lds|scoped_rds.*)\.update_rejected$`)
	if err != nil || len(counts) < 3 {
		b.Fatal(counts, err)
	}
	for _, count := range counts {
		n += count
	}
	return n
}
