// Package nurseconnect is a channel between mothers and a helpdesk: chat by WebSocket, or by long-poll
// of a minute where a network lets no WebSocket through. Each instance has its sessions in memory.
package nurseconnect

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	channel          = "/nurseconnect/channel"
	mothers, ofPolls = 100, 40
	// While a release runs the helpdesk writes so often, at this pace; in the demo once a second.
	advices        = 12
	betweenAdvices = 200 * time.Millisecond
)

// New returns the scenario.
func New() *scenario.Scenario {
	c := &chat{system: &system{figures: scenario.NewFigures()}}
	return &scenario.Scenario{
		Name: "nurseconnect", Title: "mothers who chat with a helpdesk, by WebSocket or long-poll, in sessions of one instance",
		Figures: c.system.figures, Apps: apps, Certificates: [][]string{{"nurseconnect.test"}},
		Programs: map[string]marathontest.Program{channel: c.system.run},
		Live:     c.live, Story: c.story,
		Events: []scenario.Event{
			{Text: "a release: sessions move", Do: func(r *scenario.Run) error { return r.Release(channel) }},
			{Text: "an instance more: sessions stay", Do: func(r *scenario.Run) error { return r.Scale(channel, 4) }},
			{Text: "an instance dies", Do: func(r *scenario.Run) error { return r.Crash(r.Tasks(channel)[0]) }},
			{Text: "an instance less: its sessions move", Do: func(r *scenario.Run) error { return r.Scale(channel, 3) }},
		},
	}
}

// chat is all who take part.
type chat struct {
	system  *system
	mothers []*mother
	advised []string // what all were told
}

func (c *chat) start(r *scenario.Run) {
	client := r.Client()
	for i := range mothers {
		m := newMother(r, client, fmt.Sprintf("mother %d", i), i < ofPolls)
		c.mothers = append(c.mothers, m)
		r.Go(m.listen)
	}
	r.Go(c.answer)
}

func (c *chat) live(r *scenario.Run) {
	c.start(r)
	r.Go(func(ctx context.Context) {
		for n := 0; scenario.Pause(ctx, time.Second); n++ {
			c.advise(fmt.Sprintf("advice %d", n))
			_ = c.mothers[n%mothers].ask(ctx, "is that so?") // what fails is in the figures
		}
	})
}

// answer is the helpdesk, which sits elsewhere: it answers each question.
func (c *chat) answer(ctx context.Context) {
	for n := 0; ; {
		list, err := c.system.messages.After(ctx, n)
		if err != nil {
			return
		}
		n += len(list)
		for _, m := range list {
			if m.To == helpdesk {
				c.system.messages.Add(message{From: helpdesk, To: m.From, Text: "yes"})
			}
		}
	}
}

// advise tells all something.
func (c *chat) advise(text string) {
	c.advised = append(c.advised, text)
	c.system.messages.Add(message{From: helpdesk, Text: text})
}

func (c *chat) story(r *scenario.Run) {
	r.Step("60 mothers come by WebSocket, 40 by long-poll; each asks and is answered")
	c.start(r)
	c.allThere(r)
	for _, m := range c.mothers {
		r.Must(m.ask(r.Context(), "is it normal?"))
	}
	c.checkSessions(r, mothers)

	r.Step("polls wait for as long as nobody writes, and all have what is written at once")
	r.Eventually("40 polls to wait", func() error { return same("waiting", c.system.held.Load(), ofPolls) })
	answered := c.system.answered.Load()
	c.advise("drink enough")
	c.allHave(r)
	r.Eventually("40 polls to wait again", func() error { return same("waiting", c.system.held.Load(), ofPolls) })
	r.Check(c.system.answered.Load() == answered+ofPolls, "%d polls were answered, want one for each of %d mothers", c.system.answered.Load()-answered, ofPolls)
	c.quietPoll(r)

	r.Step("an instance more: all sessions stay where they are")
	r.Must(r.Scale(channel, 4))
	for _, m := range c.mothers[:ofPolls] {
		r.Must(m.ask(r.Context(), "are you there?"))
	}
	c.checkSessions(r, mothers)

	r.Step("a release while the helpdesk writes: each mother is told to move, and misses nothing")
	released := make(chan error, 1)
	r.Go(func(context.Context) { released <- r.Release(channel) })
	for n := range advices {
		c.advise(fmt.Sprintf("advice %d", n))
		scenario.Pause(r.Context(), betweenAdvices)
	}
	r.Must(<-released)
	c.allThere(r)
	c.allHave(r)
	failed, cut := c.failures()
	r.Check(failed+cut == 0, "%d requests failed, %d connections ended without a word", failed, cut)
	c.checkStrangers(r, 0)

	r.Step("an instance dies: its mothers open other sessions, and miss nothing")
	task := r.Tasks(channel)[0]
	had := c.at(task)
	r.Must(r.Crash(task))
	c.advise("rest enough")
	c.allHave(r)
	c.allThere(r)
	failed, cut = c.failures()
	r.Check(failed == 0 && cut == had, "%d had their session there; %d connections ended, %d requests failed", had, cut, failed)
	r.Say("   %d sessions were opened in all", c.system.opened.Load())
}

func same(what string, got, want int64) error {
	if got != want {
		return fmt.Errorf("%d are %s, want %d", got, what, want)
	}
	return nil
}

// allThere waits until each mother has a session.
func (c *chat) allThere(r *scenario.Run) {
	r.Eventually("all mothers", func() error {
		for _, m := range c.mothers {
			var there bool
			m.note(func() { there = m.there })
			if !there {
				return fmt.Errorf("%s is not there", m.name)
			}
		}
		return nil
	})
}

// allHave waits until each mother has each advice, once and in order.
func (c *chat) allHave(r *scenario.Run) {
	r.Eventually("all mothers to have all advice", func() error {
		for _, m := range c.mothers {
			var got []string
			m.note(func() { got = slices.Clone(m.got) })
			got = slices.DeleteFunc(got, func(text string) bool { return text == "yes" })
			if !slices.Equal(got, c.advised) {
				return fmt.Errorf("%s has %s, want %s", m.name, strings.Join(got, ", "), strings.Join(c.advised, ", "))
			}
		}
		return nil
	})
}

// checkSessions fails the story if more sessions were opened, or requests came to another instance.
func (c *chat) checkSessions(r *scenario.Run, want int64) {
	r.Check(c.system.opened.Load() == want, "%d sessions were opened, want %d", c.system.opened.Load(), want)
	c.checkStrangers(r, 0)
}

func (c *chat) checkStrangers(r *scenario.Run, want int64) {
	n := c.system.strangers.Load()
	r.Check(n == want, "%d requests came to an instance that does not have their session", n)
}

// quietPoll asks for a poll of a second, in which nothing comes.
func (c *chat) quietPoll(r *scenario.Run) {
	start := time.Now()
	answer, err := r.Ask(r.Context(), c.mothers[0].client, http.MethodGet, c.mothers[0].url("/messages")+"&wait=1s", "")
	took := time.Since(start)
	r.Must(err)
	r.Check(answer.Status == http.StatusOK && took >= time.Second && !strings.Contains(answer.Body, "Text"), "a quiet poll: %d %s after %s", answer.Status, answer.Body, took)
}

// at is how many mothers have their session in a task.
func (c *chat) at(task string) (n int) {
	for _, m := range c.mothers {
		m.note(func() {
			if home, _ := c.system.homes.Load(m.session); home == task {
				n++
			}
		})
	}
	return n
}

func (c *chat) failures() (failed, cut int) {
	for _, m := range c.mothers {
		m.note(func() { failed, cut = failed+m.failed, cut+m.cut })
	}
	return failed, cut
}
