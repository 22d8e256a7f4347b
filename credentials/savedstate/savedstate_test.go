package savedstate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/credentials"
	"relay/internal/problem"
	"relay/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type recorder struct{ reads []read }

func (r *recorder) SyncCredentials(_ string, all []*credentials.Credential, problems []problem.Problem) {
	r.reads = append(r.reads, read{all, problems})
}

func newSink(t *testing.T, path string, key byte) (*Sink, *recorder) {
	t.Helper()
	k, err := state.ParseKey(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	next := &recorder{}
	s, err := New(state.Config{
		What: "credentials", Source: "vault", Grace: 10 * time.Second, Interval: 5 * time.Second,
		File: state.File{Path: path, Content: "credentials-vault", Key: k},
	}, next, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s, next
}

// A second life stands in with what the first was given, until the store is read. The file tells nobody anything.
func TestTwoLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	all := []*credentials.Credential{{Source: "vault", Path: "shop/oidc", Value: []byte("s3cret\xff")}, {Source: "vault", Path: "bank/"}}
	problems := []problem.Problem{{Subject: "bank", Reason: "denied"}}
	synctest.Test(t, func(t *testing.T) {
		first, _ := newSink(t, path, 200)
		go func() { _ = first.Serve(t.Context()) }()
		first.SyncCredentials("vault", all, problems)
		synctest.Wait()
		second, next := newSink(t, path, 200)
		go func() { _ = second.Serve(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(next.reads) != 1 || !reflect.DeepEqual(next.reads[0], read{all, problems}) {
			t.Errorf("stood in with %v", next.reads)
		}
		second.SyncCredentials("vault", all[:1], nil)
		if len(next.reads) != 2 || len(next.reads[1].all) != 1 {
			t.Errorf("after the sync: %v", next.reads)
		}
		other, next := newSink(t, path, 201)
		go func() { _ = other.Serve(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(next.reads) != 0 {
			t.Errorf("with another key it stood in with %v", next.reads)
		}
	})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, told := range []string{"s3cret", "shop", "czNjcmV0", "REDACTED"} {
		if bytes.Contains(data, []byte(told)) {
			t.Errorf("the file has %q", told)
		}
	}
}

func TestNeverInPlainText(t *testing.T) {
	t.Parallel()
	_, err := New(state.Config{What: "credentials", Source: "vault"}, &recorder{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "--state-key-file") {
		t.Error(err)
	}
	if _, err := (&Sink{}).decode([]byte(`{"Credentials":[{"Path":"s3cret`)); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}
