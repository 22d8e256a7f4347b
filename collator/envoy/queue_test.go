package envoy_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/sources"
)

// atOnce sends so many requests at once, by all Envoys in turn, and counts the answers by status.
func (w *queueWorld) atOnce(n int) (statuses map[int]int, answers []*http.Response) {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, DisableKeepAlives: true}}
	statuses = make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			resp, _, err := w.get(client, i, "/")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.t.Error(err)
				return
			}
			statuses[resp.StatusCode]++
			answers = append(answers, resp)
		})
	}
	wg.Wait()
	return statuses, answers
}

func TestQueue(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 100*time.Millisecond, 3, 1, 1)
	statuses, answers := w.atOnce(60)
	if statuses[200] != 43 || statuses[523] != 17 {
		t.Errorf("answers by status: %v, want 43 x 200 and 17 x 523", statuses)
	}
	for _, a := range answers {
		if a.StatusCode == 523 && a.Header.Get("Retry-After") != "30" {
			t.Errorf("told to come again: %v", a.Header)
		}
	}
	if w.most() != 1 {
		t.Errorf("an instance had %d requests at once", w.most())
	}
	_, body, err := w.get(http.DefaultClient, 0, "/")
	if err != nil || strings.Contains(strings.ToLower(body), "relay") {
		t.Errorf("the app sees: %s, %v", body, err)
	}
}
