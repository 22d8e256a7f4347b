package marathontest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForeignClient has a client library that others wrote for real Marathons
// (PyPI's "marathon") create, list, scale, change and delete an app, and follow the events.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	library, err := filepath.Abs("../../../.tools/marathon-client")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(library, "marathon")); err != nil {
		t.Fatalf("the client library is not there, run make tools: %v", err)
	}
	for version, plans := range map[string]string{"1.11.24": "light", "1.5.1": "heavy", "1.4.11": "heavy"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			// The library reads streams in pieces of 512 bytes: heartbeats fill them.
			s := Start(t, Options{Heartbeat: time.Millisecond, Credentials: "me:secret", Version: version, LaunchDelay: 2 * time.Millisecond, KillGrace: 5 * time.Millisecond})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "python3", "testdata/client.py", s.URL(), plans)
			cmd.Env = append(os.Environ(), "PYTHONPATH="+library, "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "all as expected\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
