package page

import (
	"sync"
	"time"
)

const (
	// sharedFor is how long a page is handed out that was rendered for somebody else.
	sharedFor = time.Second
	// maxShared is how many pages are kept, and maxSharedSize how large each may be.
	maxShared, maxSharedSize = 32, 512 << 10
)

// shared renders a page once for all who ask for it within a second: they have it open, and
// are told of a change at the same moment.
type shared struct {
	mu    sync.Mutex
	pages map[string]*rendered
}

// rendered is a page that is being rendered until done is closed.
type rendered struct {
	done   chan struct{}
	at     time.Time
	body   []byte
	status int
	err    error
}

// get returns the page of a URL. Nobody may modify it.
func (s *shared) get(url string, render func() ([]byte, int, error)) ([]byte, int, error) {
	s.mu.Lock()
	if r := s.pages[url]; r != nil && time.Since(r.at) < sharedFor {
		s.mu.Unlock()
		<-r.done
		return r.body, r.status, r.err
	}
	r := &rendered{done: make(chan struct{}), at: time.Now()}
	s.add(url, r)
	s.mu.Unlock()

	finished := false
	defer func() {
		if !finished { // render has panicked: those who wait are told
			r.err = errPanicked
		}
		if !finished || r.err != nil || len(r.body) > maxSharedSize {
			s.forget(url, r)
		}
		close(r.done)
	}()
	r.body, r.status, r.err = render()
	finished = true
	return r.body, r.status, r.err
}

// add keeps a page in place of an old one. The caller holds the lock.
func (s *shared) add(url string, r *rendered) {
	if s.pages == nil {
		s.pages = make(map[string]*rendered)
	}
	for other, old := range s.pages {
		if time.Since(old.at) >= sharedFor {
			delete(s.pages, other)
		}
	}
	if len(s.pages) < maxShared {
		s.pages[url] = r
	}
}

func (s *shared) forget(url string, r *rendered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages[url] == r {
		delete(s.pages, url)
	}
}
