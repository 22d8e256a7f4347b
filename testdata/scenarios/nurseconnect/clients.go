package nurseconnect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"relay/testdata/scenarios/scenario"
)

const (
	helpdesk = "the helpdesk"
	base     = "https://nurseconnect.test"
)

// mother is a client of the channel, by WebSocket, or by long-poll where her network lets none through.
type mother struct {
	name     string
	polls    bool
	run      *scenario.Run
	client   *http.Client
	session  string
	answered chan struct{} // a message for her alone came

	mu       sync.Mutex
	there    bool
	last     int // the number of the last message
	got      []string
	sessions int
	// failed counts requests that failed, cut connections that ended without a word.
	failed, cut int
}

func newMother(r *scenario.Run, shared *http.Client, name string, polls bool) *mother {
	client := *shared // with cookies of her own
	m := &mother{name: name, polls: polls, run: r, client: &client, answered: make(chan struct{}, 1)}
	m.forgetCookies()
	return m
}

// forgetCookies makes her come to any instance: the cookie names the one that she had.
func (m *mother) forgetCookies() { m.client.Jar, _ = cookiejar.New(nil) } // never fails

// errMoved ends a session whose server told that it ends.
var errMoved = errors.New("the server ends")

// listen has a session all the time.
func (m *mother) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := m.open(ctx)
		if err == nil {
			err = m.follow(ctx)
		} else {
			m.note(func() { m.failed++ })
		}
		if ctx.Err() != nil {
			return
		}
		m.run.Figures.Closed()
		m.note(func() {
			m.there = false
			if !errors.Is(err, errMoved) {
				m.cut++
			}
		})
		m.forgetCookies()
		scenario.Pause(ctx, rand.N(time.Second/3))
	}
}

func (m *mother) note(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// open opens a session at any instance.
func (m *mother) open(ctx context.Context) error {
	answer, err := m.run.Ask(ctx, m.client, http.MethodPost, base+"/sessions?mother="+url.QueryEscape(m.name), "")
	if err != nil {
		return err
	}
	m.note(func() { m.session, m.sessions = answer.Body, m.sessions+1 })
	return nil
}

func (m *mother) follow(ctx context.Context) error {
	if m.polls {
		return m.followPolls(ctx)
	}
	conn, err := m.run.WebSocket(ctx, m.client, strings.Replace(m.url("/socket"), "https:", "wss:", 1))
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	m.note(func() { m.there = true })
	for {
		var came message
		if err := wsjson.Read(ctx, conn, &came); err != nil {
			if websocket.CloseStatus(err) == websocket.StatusGoingAway {
				return errMoved
			}
			return err
		}
		m.take(came)
	}
}

func (m *mother) followPolls(ctx context.Context) error {
	for {
		m.note(func() { m.there = true })
		// Not counted in the figures: how long it takes is up to who writes.
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url("/messages"), nil)
		if err != nil {
			return err
		}
		resp, err := m.client.Do(req)
		if err != nil {
			return err
		}
		var answer polled
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		if err != nil {
			return err
		}
		for _, came := range answer.Messages {
			m.take(came)
		}
		if answer.Moved {
			return errMoved
		}
	}
}

// url is a path of her session.
func (m *mother) url(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%s%s?session=%s&after=%d", base, path, m.session, m.last)
}

func (m *mother) take(came message) {
	m.note(func() { m.last, m.got = came.Number, append(m.got, came.Text) })
	if came.To == m.name {
		select {
		case m.answered <- struct{}{}:
		default:
		}
	}
}

// ask asks the helpdesk, and waits for the answer.
func (m *mother) ask(ctx context.Context, text string) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answer, err := m.run.Ask(ctx, m.client, http.MethodPost, m.url("/messages"), text)
	if err != nil || answer.Status != http.StatusOK {
		return fmt.Errorf("%s asks: %d %s, %v", m.name, answer.Status, answer.Body, err)
	}
	select {
	case <-m.answered:
		m.run.Figures.Request(time.Since(start), nil)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s gets no answer", m.name)
	}
}
