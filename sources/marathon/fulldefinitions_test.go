package marathon

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"relay/sources/marathon/marathontest"
)

// TestOnFullRead holds that each full read hands on all apps as they are written, also those
// of which Relay makes nothing.
func TestOnFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	m.SetRawApp("/odd", json.RawMessage(`{"id":"/odd","labels":{"unknown":"label"},"instances":"many","extra":[1]}`))
	var mu sync.Mutex
	var reads [][]string
	config := fastConfig(m.URL())
	config.OnFullRead = func() func([]byte) {
		mu.Lock()
		defer mu.Unlock()
		reads = append(reads, nil)
		n := len(reads) - 1
		return func(app []byte) {
			mu.Lock()
			defer mu.Unlock()
			reads[n] = append(reads[n], string(app))
		}
	}
	w, sink, _ := watch(t, config)
	sink.await(t, "synced", contains("/b "))
	reload(t, w)
	mu.Lock()
	defer mu.Unlock()
	if len(reads) < 2 {
		t.Fatalf("%d reads", len(reads))
	}
	for _, read := range reads {
		if len(read) != 3 || !strings.Contains(strings.Join(read, ""), `"extra":[1]`) {
			t.Errorf("%d apps: %s", len(read), read)
		}
	}
}
