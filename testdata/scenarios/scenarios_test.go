package scenarios

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	_ "relay/internal/relay" // the program that is built: its tests that passed are not taken for these
	"relay/testdata/scenarios/scenario"
	"relay/xds/envoytest"
)

// atOnce is how many scenarios run at the same time: most of the time they wait.
const atOnce = "3"

// binary is the relay program, once TestMain has built it.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", atOnce)
	dir, err := os.MkdirTemp("", "relay-scenarios-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "relay")
	if out, err := exec.Command("go", "build", "-o", binary, "relay/cmd/relay").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	if leaked := goleak.Find(); status == 0 && leaked != nil {
		fmt.Fprintln(os.Stderr, leaked)
		status = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// The story of each scenario holds.
func TestScenarios(t *testing.T) {
	t.Parallel()
	envoy, err := envoytest.Find()
	if err != nil {
		t.Fatal(err)
	}
	for _, construct := range All {
		s := construct()
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			if err := scenario.Tell(ctx, s, scenario.Settings{RelayBinary: binary, EnvoyBinary: envoy, Out: t.Output()}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
