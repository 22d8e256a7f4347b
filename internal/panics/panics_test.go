package panics_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"relay/internal/logtest"
	"relay/internal/panics"
)

func explode() { panic("no such index") }

func TestCatch(t *testing.T) {
	t.Parallel()
	var out logtest.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	plain := errors.New("refused")
	for _, err := range []error{nil, plain} {
		if got := panics.Catch(func() error { return err }); got != err || panics.Log(log, got) {
			t.Errorf("got %v, want %v, not logged", got, err)
		}
	}
	err := panics.Catch(func() error {
		explode()
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "no such index") || strings.Contains(err.Error(), "panics_test.go") {
		t.Errorf("the error is %v, want the value and no stack", err)
	}
	if out.String() != "" {
		t.Errorf("logged too early: %s", &out)
	}
	if !panics.Log(log, fmt.Errorf("read a.test: %w", err), "name", "a.test") || !strings.Contains(out.String(), "panics_test.explode") || !strings.Contains(out.String(), "name=a.test") {
		t.Errorf("logged: %s", &out)
	}
}
