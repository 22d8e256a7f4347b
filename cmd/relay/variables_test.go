package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// Every setting has the variable that its name says.
func TestVariablesHaveTheNamesOfFlags(t *testing.T) {
	parser := testParser(t)
	for _, flag := range allFlags(parser.Model) {
		want := variablePrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if flag.Name != "help" && (len(flag.Envs) == 0 || flag.Envs[0] != want) {
			t.Errorf("--%s has the variables %q, want %s", flag.Name, flag.Envs, want)
		}
	}
}

func testParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := newParser(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	app := testParser(t).Model
	tests := []struct{ variable, want string }{
		{"RELAY_HTTPS_PUBLIC_PROT=443", "did you mean RELAY_HTTPS_PUBLIC_PORT?"},
		{"RELAY_HTTPS_PUBLIK_PORT=443", "did you mean RELAY_HTTPS_PUBLIC_PORT?"},
		{"RELAY_MARATON=http://m", "did you mean RELAY_MARATHON?"},
		{"RELAY_MARATHON_URL=http://m", "did you mean RELAY_MARATHON?"},
		{"RELAY_HTTP_LISTEN_ON=0.0.0.0:80", "did you mean RELAY_HTTP?"},
		{"RELAY_VAULT_ADDRESS=http://v", "did you mean RELAY_VAULT_ADDR?"},
		{"RELAY_MARATHON_PREFER_IPV_6=true", "did you mean RELAY_MARATHON_PREFER_IPV6?"},
		{"RELAY_0_TIMEOUT=3s", "label of an app"},
		{"RELAY_COLOUR=blue", "see relay serve --help"},

		{"RELAY_HTTPS_PUBLIC_PORT=443", ""},
		{"RELAY_VAULT_TOKEN=x", ""},
		{"RELAY_NODE_ID=x", ""}, // of relay bootstrap
		{"RELAY_TIMEOUT=x", ""}, // of relay check
		{"RELAYS=x", ""},
		{"PATH=RELAY_MARATON=x", ""},
		{"RELAY_ENVOY=/envoy", ""},
		{"RELAY_PORT=tcp://10.0.0.1:9090", ""},
		{"RELAY_PORT_9090_TCP=tcp://10.0.0.1:9090", ""},
		{"RELAY_PORT_9090_TCP_ADDR=10.0.0.1", ""},
		{"RELAY_SERVICE_HOST=10.0.0.1", ""},
		{"RELAY_SERVICE_PORT=9090", ""},
		{"RELAY_SERVICE_PORT_ADMIN=9090", ""},
		{"RELAY_ADMIN_PORT=tcp://10.0.0.1:9090", ""},
		{"RELAY_ADMIN_SERVICE_HOST=10.0.0.1", ""},
		{"RELAY_NAME=/envoy/relay", ""},
		{"RELAY_ENV_HOME=/", ""},
	}
	for _, tt := range tests {
		name, _, _ := strings.Cut(tt.variable, "=")
		got := unknownVariables(app, []string{"HOME=/", tt.variable})
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %+v, want none", tt.variable, got)
		case tt.want != "" && (len(got) != 1 || got[0].Subject != name || !strings.Contains(got[0].Reason, tt.want)):
			t.Errorf("%s: %+v, want one with %q", tt.variable, got, tt.want)
		}
	}
}

// An unknown variable counts in a check, and does not keep Relay from starting.
func TestUnknownVariableIsSaid(t *testing.T) {
	t.Setenv("RELAY_RETRYS", "s.secret")
	file := writeFile(t, "apps.yaml", "apps: []\n")
	status, out, errs := command(t, "check", "--source-file", file)
	if status != 1 || !strings.Contains(out, "wrong  RELAY_RETRYS: unknown variable") || !strings.Contains(out, "to look at: 1") || strings.Contains(out+errs, "s.secret") {
		t.Errorf("status %d:\n%s%s", status, out, errs)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	log := &awaited{text: "msg=serving", seen: stop}
	run(ctx, []string{"serve", "--source-file", file, "--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, log, log)
	if got := log.String(); !strings.Contains(got, "setting=RELAY_RETRYS") || !strings.Contains(got, "did you mean RELAY_RETRIES?") || strings.Contains(got, "s.secret") {
		t.Errorf("relay serve logs:\n%s", got)
	}
}

// awaited keeps what is written, and calls seen once the text is in it.
type awaited struct {
	text string
	seen func()

	mu      sync.Mutex
	written bytes.Buffer
}

// Write implements io.Writer.
func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes.Contains(p, []byte(a.text)) {
		a.seen()
	}
	return a.written.Write(p)
}

// String is what was written.
func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.written.String()
}
