package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"relay/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files anew")

// at is when all lines of these tests are logged.
var at = time.Date(2026, 11, 30, 17, 5, 4, 123456000, time.FixedZone("", 2*3600))

// say logs what the golden files have.
func say(h slog.Handler) {
	h = h.WithAttrs([]slog.Attr{slog.String("part", "collator")})
	for _, l := range []struct {
		level slog.Level
		words string
		args  []any
	}{
		{slog.LevelDebug, "published", []any{"event", "published", "fleet", "external", "revision", 7}},
		{slog.LevelInfo, "app sleeps", []any{"event", "app_asleep", "app", "/shop/web", "reason", "nobody used it for 30m"}},
		{slog.LevelInfo, "synced with Marathon", []any{"event", "marathon_synced", "url", "http://m:8080", "apps", 12, "took", 1500 * time.Millisecond}},
		{slog.LevelWarn, "watching Marathon ended, what is known stays in use", []any{"event", "marathon_lost", "error", errors.New("EOF"), "retry_in", 2 * time.Second}},
		{slog.LevelError, "recovered from a panic", []any{"event", "panic", "error", errors.New("oh"), "stack", "goroutine 1\n\tmain.go:7\n"}},
		{slog.LevelWarn, "hostile", []any{"event", "app_ignored", "id", "a\"] <0>1 - - evil\n\r\x00\x1b[31m\u2028 \xff=\\ ü", "list", []string{"a b", "c"}}},
		{slog.LevelInfo, "secrets", []any{"event", "serving", "token", secret.String("s3cret"), "tokens", []secret.String{"s3cret"}}},
	} {
		r := slog.NewRecord(at, l.level, l.words, 0)
		r.Add(l.args...)
		_ = h.Handle(context.Background(), r)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s differs (%v): go test ./internal/logs -update writes it, look at the difference\n%s", file, err, got)
	}
	if strings.Contains(got, "s3cret") {
		t.Errorf("a secret is in\n%s", got)
	}
}

// messages are those of what is said.
func messages(say func(slog.Handler)) (all []string) {
	h := newHeader("local3", "edge-1.example.com", 4711)
	say(handler{enabled: func(slog.Level) bool { return true }, take: func(r slog.Record, fields []field) {
		m, err := h.message(r.Time, r.Level, r.Message, fields)
		if err != nil {
			m = err.Error()
		}
		all = append(all, m)
	}})
	return all
}

func TestSyslogMessages(t *testing.T) {
	t.Parallel()
	golden(t, "syslog.golden", strings.Join(messages(say), "\n")+"\n")
}

// Groups give their fields names with dots.
func TestGroups(t *testing.T) {
	t.Parallel()
	got := messages(func(h slog.Handler) {
		r := slog.NewRecord(at, slog.LevelInfo, "words", 0)
		r.Add("c", 3, slog.Group("d", "e", secret.String("s3cret")))
		_ = h.WithAttrs([]slog.Attr{slog.Int("a", 1)}).WithGroup("b").WithAttrs([]slog.Attr{slog.Int("x", 2)}).WithGroup("").Handle(context.Background(), r)
	})
	if want := ` - [relay@32473 a="1" b.c="3" b.d.e="REDACTED" b.x="2"] words a=1 b.x=2 b.c=3 b.d.e=REDACTED`; len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("%q, want …%s", got, want)
	}
}

func TestECS(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	say(NewECS(&out, slog.LevelInfo, "1.2.3"))
	golden(t, "ecs.golden", out.String())
	for line := range strings.Lines(out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for name := range fields {
			if name != "message" && name != "@timestamp" && !strings.Contains(name, ".") {
				t.Errorf("%q is no name of the schema, and not Relay's: %s", name, line)
			}
		}
	}
}

// Nothing that an app or client chooses makes another line, another field, or a message that is too long.
func FuzzHostileFields(f *testing.F) {
	for _, v := range []string{"a\nb", `x" forged="1`, `] <0>1 - - - - - evil`, `\`, `\"`, "\xff\xfe", strings.Repeat("ü", 50_000), strings.Repeat("\x00", 100_000), strings.Repeat(`"]\`, 30_000), "", "…", "\u2028"} {
		f.Add("app", v)
		f.Add(v, "value")
	}
	parser := rfc5424.NewParser()
	f.Fuzz(func(t *testing.T, key, value string) {
		h := newHeader("daemon", value, 1)
		for _, fields := range [][]field{
			{{"event", value}, {"app", value}, {"fleet", value}, {"envoy", value}, {"error", value}},
			{{"event", "app_ignored"}, {key, value}},
		} {
			m, err := h.message(at, slog.LevelWarn, "words", fields)
			if err != nil {
				t.Fatal(err)
			}
			if len(m) > 8192 || !utf8.ValidString(m) || strings.ContainsFunc(m, unicode.IsControl) {
				t.Fatalf("%d bytes: %q", len(m), m[:min(len(m), 500)])
			}
			parsed, err := parser.Parse([]byte(m))
			if err != nil {
				t.Fatalf("%v: %q", err, m)
			}
			got := parsed.(*rfc5424.SyslogMessage)
			if *got.Appname != "relay" || *got.Severity != 4 || !strings.HasPrefix(*got.Message, "words") {
				t.Fatalf("%q", m)
			}
			sd := map[string]map[string]string{}
			if got.StructuredData != nil {
				sd = *got.StructuredData
			}
			if len(sd) > 1 || len(sd[fieldsID]) > len(fields) {
				t.Errorf("%d elements: %q", len(sd), m)
			}
			if len(value) < 500 && fields[1].key == "app" && sd[fieldsID]["app"] != line(value, maxValue) {
				t.Errorf("app is %q, want %q", sd[fieldsID]["app"], value)
			}
		}
	})
}

// The same hostile values in JSON are one line each.
func FuzzHostileECS(f *testing.F) {
	for _, v := range []string{"a\nb", `","log.level":"error`, "\xff", strings.Repeat("x", 100_000), "\u2028"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var out bytes.Buffer
		r := slog.NewRecord(at, slog.LevelInfo, "words", 0)
		r.Add("event", "app_ignored", "app", value, "error", errors.New(value))
		if err := NewECS(&out, slog.LevelInfo, "").Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		var fields map[string]string
		if err := json.Unmarshal(out.Bytes(), &fields); err != nil || strings.Count(out.String(), "\n") != 1 || fields["log.level"] != "info" {
			t.Errorf("%v: %q", err, out.String())
		}
	})
}
