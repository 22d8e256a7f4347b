package peers

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
)

// Tried is what became of a question to a peer; Err is nil if it answered.
type Tried struct {
	// Name is its URL without what may be secret.
	Name string
	Err  error
	// Away is set if nothing answered.
	Away bool
}

// awayError is why nothing answered.
type awayError struct{ error }

// Try asks each peer of a configuration once, at the same time, for people who want to know whether
// they can be asked. Its errors have nothing secret.
func Try(ctx context.Context, config Config) []Tried {
	p := New(config, nil, slog.New(slog.DiscardHandler))
	defer p.client.CloseIdleConnections()
	tried := make([]Tried, len(p.peers))
	var all sync.WaitGroup
	for i, peer := range p.peers {
		all.Go(func() {
			_, err := p.question(ctx, peer, Question{})
			_, away := errors.AsType[awayError](err)
			tried[i] = Tried{peer.name, err, away}
		})
	}
	all.Wait()
	return tried
}

// noAnswer is why a request got none.
func noAnswer(err error) error {
	if of := (*url.Error)(nil); errors.As(err, &of) {
		err = of.Err // without the question
	}
	return awayError{err}
}
