package savedstate

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/state"
	"relay/sources"
)

// curious is a Sink that wants to know why.
type curious struct {
	recorder
	causes []string
}

func (c *curious) AppsBecause(cause string) { c.causes = append(c.causes, cause) }

// Why a source tells something is handed on, and so is that saved state stands in for it.
func TestCauses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	life := func() (*Sink, *curious) {
		next := &curious{}
		return New(state.Config{
			What: "apps", Source: "marathon", File: state.File{Path: path, Content: "apps"}, Grace: 10 * time.Second, Interval: 5 * time.Second,
		}, next, slog.New(slog.DiscardHandler), prometheus.NewRegistry()), next
	}
	synctest.Test(t, func(t *testing.T) {
		first, told := life()
		go func() { _ = first.Serve(t.Context()) }()
		sources.Because(first, "all read")
		first.SyncApps([]*sources.App{{ID: "/a"}})
		sources.Because(first, "event")
		first.UpdateApps([]*sources.App{{ID: "/b"}}, nil)
		first.UpdateApps([]*sources.App{{ID: "/c"}}, nil)
		if want := []string{"all read", "event", ""}; !slices.Equal(told.causes, want) {
			t.Errorf("causes %q, want %q", told.causes, want)
		}
		time.Sleep(time.Minute)
		second, told := life()
		go func() { _ = second.Serve(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"saved state stands in for the source"}; !slices.Equal(told.causes, want) {
			t.Errorf("causes %q, want %q", told.causes, want)
		}
	})
}
