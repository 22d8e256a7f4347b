package relay

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/dir"
	"relay/certs/vault"
)

// Each store can ask for what an earlier run saved of it, and for that alone, and say why it does
// not sync: people see it.
func TestStoresKnowWhatWasSaved(t *testing.T) {
	t.Parallel()
	config := &Config{State: State{Dir: t.TempDir()}, Certificates: Certificates{Dir: dir.Config{Paths: []string{"/x"}}, Vault: vault.Config{Addresses: []string{"http://vault.test"}}}}
	run := func() (certs.StoreSink, *stateKeepers) {
		k, err := newStateKeepers(config, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		sink, err := k.certificates(certstest.NewSink())
		if err != nil {
			t.Fatal(err)
		}
		return onReadSink{sink, func(string, []*certs.Certificate) {}}, k
	}
	root := certstest.TestRoot(t, "devices", time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
	parsed, err := certs.ParseAuthorities(root.PEM())
	if err != nil {
		t.Fatal(err)
	}
	sink, keepers := run()
	sink.SyncAuthorities("vault", []*certs.Authority{certs.NewAuthority("vault", "devices", parsed, nil)}, nil)
	ended, end := context.WithCancel(t.Context())
	end()
	for _, k := range keepers.all {
		_ = k.Serve(ended) // saves
	}

	sink, keepers = run()
	if got := certs.Saved(sink, "vault"); len(got) != 1 || got[0].Name != "devices" {
		t.Errorf("saved of Vault are %v", got)
	}
	if got := certs.Saved(sink, "dir"); len(got) > 0 {
		t.Errorf("saved of the directory are %v", got)
	}
	certs.Unread(sink, "vault", "denied: give a right")
	problems := (&Relay{states: keepers.all}).stateProblems()
	if len(problems) != 1 || problems[0].Subject != "vault" || problems[0].Item != "saved authorities" || problems[0].Reason != "denied: give a right" {
		t.Errorf("people are told %+v", problems)
	}
}
