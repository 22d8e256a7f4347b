// Package whatsapp is a webhook: a provider posts each message until it is told that it has arrived.
// The webhook calls a bank, which is slow, so each instance takes few messages at a time, and must lose
// none when it is deployed.
package whatsapp

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	webhook = "/whatsapp/webhook"
	bank    = "/whatsapp/bank"
	// concurrency is RELAY_0_CONCURRENCY.
	concurrency = 4
)

// New returns the scenario.
func New() *scenario.Scenario {
	b := &business{system: &system{figures: scenario.NewFigures(), stored: make(map[string]int)}}
	return &scenario.Scenario{
		Name: "whatsapp", Title: "a webhook that calls a slow bank for each message, and loses none",
		Figures: b.system.figures, Apps: apps, Certificates: [][]string{{"webhook.test"}, {"bank.test"}},
		Programs: map[string]marathontest.Program{webhook: b.system.webhook, bank: b.system.bank},
		Flags:    []string{"--scaling"},
		Prepare:  b.prepare, Live: b.live, Story: b.story,
		Events: []scenario.Event{
			{Text: "the webhook is deployed anew", Do: func(r *scenario.Run) error { return r.Release(webhook) }},
			{Text: "200 messages at once", Do: func(r *scenario.Run) error { b.provider.send(r.Context(), 200, 0); return nil }},
			{Text: "an instance dies", Do: func(r *scenario.Run) error { return r.Crash(r.Tasks(webhook)[0]) }},
		},
	}
}

type business struct {
	system   *system
	provider *provider
}

func (b *business) prepare(r *scenario.Run) {
	b.system.out = r.Client()
	b.provider = &provider{run: r, client: r.Client()}
}

func (b *business) live(r *scenario.Run) {
	r.Go(func(ctx context.Context) {
		for ctx.Err() == nil {
			b.provider.send(ctx, 100, 20*time.Millisecond)
		}
		b.provider.sending.Wait()
	})
}

func (b *business) story(r *scenario.Run) {
	defer b.provider.sending.Wait()

	r.Step("100 messages, 50 a second: each is stored once, and an instance has 4 at a time at most")
	b.provider.send(r.Context(), 100, 20*time.Millisecond)
	b.allStored(r)
	r.Check(b.busy(r) == 0, "attempts were told to come again")
	b.fewAtATime(r)

	r.Step("200 at once: 12 are in work, 40 wait, the others are told to come again, and do")
	b.provider.send(r.Context(), 200, 0)
	b.allStored(r)
	r.Check(b.busy(r) > 0, "nobody was told to come again")
	b.fewAtATime(r)

	r.Step("a deploy in the middle of 150 messages: none is lost, none fails, none reaches two instances")
	released := make(chan error, 1)
	r.Go(func(context.Context) { released <- r.Release(webhook) })
	b.provider.send(r.Context(), 150, 20*time.Millisecond)
	r.Must(<-released)
	b.allStored(r)
	r.Check(b.busy(r) == 0, "attempts were told to come again")
	b.fewAtATime(r)

	r.Step("an instance takes no more connections, and nobody knows yet: another one gets its messages")
	deaf := r.Tasks(webhook)[0]
	b.system.ears.Close(deaf)
	b.provider.send(r.Context(), 100, 10*time.Millisecond)
	b.allStored(r)
	b.busy(r) // may be some: the other two have all
	r.Must(r.Replace(webhook, deaf))

	r.Step("an instance dies with messages in hand: those fail once, as it may have them, and are sent again")
	b.provider.send(r.Context(), 40, 5*time.Millisecond)
	r.Must(r.Crash(r.Tasks(webhook)[1]))
	b.provider.send(r.Context(), 40, 5*time.Millisecond)
	b.allStored(r)
	_, failed := b.provider.counts()
	// Each of its connections can take one more along, if Envoy sends that before it hears of the end.
	r.Check(failed > 0 && failed <= 2*concurrency, "%d attempts failed: the instance had %d messages", failed, concurrency)

	messages, again := b.system.ledger()
	r.Say("   %d messages, %d of them stored more than once, %d attempts failed with the instance", messages, again, failed)
}

// allStored waits until each message that was sent is stored, and no attempt came to two instances.
func (b *business) allStored(r *scenario.Run) {
	r.Eventually("all messages to be stored", func() error {
		b.provider.mu.Lock()
		sent := b.provider.sent
		b.provider.mu.Unlock()
		if stored, _ := b.system.ledger(); stored != sent {
			return fmt.Errorf("%d of %d are", stored, sent)
		}
		return nil
	})
	b.provider.sending.Wait()
	twice := b.system.arrivals.Twice()
	r.Check(twice == "", "attempt %s came to instances more than once", twice)
}

// busy is how many attempts were told to come again. It fails the story if any failed otherwise.
func (b *business) busy(r *scenario.Run) int {
	busy, failed := b.provider.counts()
	r.Check(failed == 0, "%d attempts failed", failed)
	return busy
}

// fewAtATime fails the story if an instance had more messages at a time than it may have.
func (b *business) fewAtATime(r *scenario.Run) {
	most := b.system.figures.Most(webhook)
	r.Check(most <= concurrency, "an instance had %d messages at a time, %d are allowed", most, concurrency)
}
