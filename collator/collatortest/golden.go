package collatortest

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Update is set by -update, which every package of tests beside this one takes.
var Update = flag.Bool("update", false, "rewrite the golden files, and remove those of no test")

// Golden compares with a golden file.
func Golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *Update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s (-want +got); run with -update if it should:\n%s", file, diff)
	}
}
