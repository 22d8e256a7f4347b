package blackbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/secret"
	"relay/internal/terminal"
	"relay/probe"
)

// lines keeps the last line in which blackbox_exporter says that something is wrong. It has no other way to say what.
type lines struct {
	mu   sync.Mutex
	last string
}

// Enabled implements slog.Handler.
func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler. Attributes are left out but for errors and the status: others have texts of the
// settings and of apps in them.
func (l *lines) Handle(_ context.Context, record slog.Record) error {
	wrong := record.Level >= slog.LevelError || strings.HasPrefix(record.Message, "Invalid ") || strings.HasPrefix(record.Message, "Failed ")
	if !wrong {
		return nil
	}
	text := record.Message
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "err", "status_code", "header":
			text += ": " + a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
	return nil
}

// WithAttrs implements slog.Handler.
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *lines) WithGroup(string) slog.Handler { return l }

// bodyTooLarge ends what a module says whose limit of a body was reached.
const bodyTooLarge = "http: request body too large"

// reason says for people why a module failed.
func reason(ctx context.Context, seen *lines, through *passage, m config.Module, status int) string {
	if err := through.failure(); err != nil {
		return "no connection to the Envoy: " + terminal.Clean(err.Error())
	}
	seen.mu.Lock()
	text := seen.last
	seen.mu.Unlock()
	if text == "" {
		text = "what came is not what the module expects"
		if status > 0 {
			text += fmt.Sprintf(" (status %d)", status)
		}
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		text = "no answer in time: " + text
	}
	// A module that has stopped at its own limit has said so, however much of the rest was on its way.
	if through.full() && !strings.HasSuffix(text, bodyTooLarge) {
		text = fmt.Sprintf("more than %d kB came: %s", through.limit>>10, text)
	}
	for _, s := range secretsOf(m) {
		text = strings.ReplaceAll(text, s, secret.Redacted)
	}
	text = secret.Mask(text)
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return terminal.Clean(text)
}

// secretsOf are the texts of a module that nobody may see: passwords, tokens, keys, and what it sends.
func secretsOf(m config.Module) (secrets []string) {
	add := func(texts ...string) {
		for _, s := range texts {
			if len(s) >= 4 {
				secrets = append(secrets, s)
			}
		}
	}
	c := m.HTTP.HTTPClientConfig
	if c.BasicAuth != nil {
		add(string(c.BasicAuth.Password))
	}
	if c.Authorization != nil {
		add(string(c.Authorization.Credentials))
	}
	if c.OAuth2 != nil {
		add(string(c.OAuth2.ClientSecret))
	}
	add(string(c.BearerToken), string(c.TLSConfig.Key), string(m.TCP.TLSConfig.Key), string(m.GRPC.TLSConfig.Key), m.HTTP.Body)
	for name, value := range m.HTTP.Headers {
		if secret.Named(name) {
			add(value)
		}
	}
	for _, step := range m.TCP.QueryResponse {
		add(step.Send)
	}
	return secrets
}

// readMetrics takes from the metrics of blackbox_exporter what results have.
func readMetrics(r *probe.Result, registry *prometheus.Registry) {
	families, err := registry.Gather()
	if err != nil {
		return
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value := m.GetGauge().GetValue()
			switch f.GetName() {
			case "probe_http_status_code":
				r.Status = int(value)
			case "probe_ssl_earliest_cert_expiry":
				if value > 0 {
					r.CertificateExpires = time.Unix(int64(value), 0)
				}
			case "probe_http_duration_seconds":
				if r.Phases == nil {
					r.Phases = make(map[string]float64)
				}
				r.Phases[m.GetLabel()[0].GetValue()] = value
			}
		}
	}
}
