package whatsapp

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"relay/testdata/scenarios/scenario"
)

// provider sends messages to the webhook, each until that has said that it has it: at least once.
type provider struct {
	run    *scenario.Run
	client *http.Client

	sending sync.WaitGroup
	mu      sync.Mutex
	sent    int
	// busy counts attempts that were told to come again, failed all others that failed.
	busy, failed int
}

// send sends so many messages, one every so often.
func (p *provider) send(ctx context.Context, messages int, every time.Duration) {
	for range messages {
		p.mu.Lock()
		p.sent++
		id := fmt.Sprintf("message-%d", p.sent)
		p.mu.Unlock()
		p.sending.Go(func() { p.deliver(ctx, id) })
		if every > 0 && !scenario.Pause(ctx, every) {
			return
		}
	}
}

// deliver sends one message, again and again with more and more time between.
func (p *provider) deliver(ctx context.Context, id string) {
	wait := 100 * time.Millisecond
	for attempt := 1; ctx.Err() == nil; attempt++ {
		if p.attempt(ctx, id, fmt.Sprintf("%s/%d", id, attempt)) {
			return
		}
		scenario.Pause(ctx, wait)
		wait = min(2*wait, time.Second)
	}
}

func (p *provider) attempt(ctx context.Context, id, attempt string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := p.run.Ask(ctx, p.client, http.MethodPost, "https://webhook.test/messages", id, scenario.AttemptHeader, attempt)
	if err == nil && answer.Status == http.StatusOK {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer.Header.Get("X-Relay-Error") == "busy" && answer.Header.Get("Retry-After") != "" {
		p.busy++
		p.run.Figures.Refused()
	} else {
		p.failed++
	}
	return false
}

// counts are of attempts since the last call.
func (p *provider) counts() (busy, failed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	busy, failed, p.busy, p.failed = p.busy, p.failed, 0, 0
	return busy, failed
}
