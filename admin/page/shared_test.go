package page

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
)

// A page is rendered once for all who ask for it within a second, one at a time.
func TestSharedPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shared
		var n atomic.Int32
		render := func() ([]byte, int, error) {
			n.Add(1)
			time.Sleep(100 * time.Millisecond)
			return []byte("page"), 200, nil
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if body, status, err := s.get("/", render); string(body) != "page" || status != 200 || err != nil {
					t.Errorf("%s %d %v", body, status, err)
				}
			})
		}
		all.Wait()
		if n.Load() != 1 {
			t.Errorf("rendered %d times for ten who asked at once", n.Load())
		}
		time.Sleep(sharedFor)
		_, _, _ = s.get("/", render)
		_, _, _ = s.get("/other", render)
		if n.Load() != 3 {
			t.Errorf("rendered %d times, want once more each for an old page and for another", n.Load())
		}
	})
}

// What failed, and what is large, is not kept; nor are more pages than fit.
func TestSharedPagesAreBounded(t *testing.T) {
	t.Parallel()
	var s shared
	n := 0
	for range 2 {
		_, _, _ = s.get("/fails", func() ([]byte, int, error) { n++; return nil, 0, errors.New("no") })
		_, _, _ = s.get("/large", func() ([]byte, int, error) { n++; return make([]byte, maxSharedSize+1), 200, nil })
	}
	if n != 4 {
		t.Errorf("rendered %d times, want 4", n)
	}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = s.get("/panics", func() ([]byte, int, error) { panic("x") })
	}()
	for i := range 10 * maxShared {
		_, _, _ = s.get(string(rune('a'+i)), func() ([]byte, int, error) { return nil, 200, nil })
	}
	if len(s.pages) > maxShared || s.pages["/panics"] != nil {
		t.Errorf("%d pages are kept", len(s.pages))
	}
}

// countingData counts how often it is asked for all domains without a certificate.
type countingData struct {
	*fakeData
	asked atomic.Int32
}

func (c *countingData) Uncovered() api.Uncovered {
	c.asked.Add(1)
	return c.fakeData.Uncovered()
}

// What costs a look at all certificates and domains is not looked at for each rendering.
func TestSlowPartOfTheFirstScreen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := &countingData{fakeData: troubleData()}
		p := New(data, "", nil)
		for i := range 20 {
			v, err := p.first(nil)
			if err != nil || v.Body.(firstBody).UncoveredTotal != 2 {
				t.Fatalf("rendering %d: %+v %v", i, v, err)
			}
			time.Sleep(time.Second)
		}
		if n := data.asked.Load(); n != 4 {
			t.Errorf("asked %d times in 20 s, want 4", n)
		}
	})
}
