package peers

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/scaling/deployments"
)

// group is what a Relay knows of the group imp.
type group struct {
	open    int
	learnt  []deployments.Direction
	moving  bool
	settled bool
}

func (g *group) Tasks(name string) []DeploymentTask {
	if name != "imp" {
		return nil
	}
	return []DeploymentTask{{Task: "blue.1", Open: g.open, Known: true, Settled: g.settled}}
}

func (g *group) Directions() []deployments.Direction {
	return []deployments.Direction{{Group: "imp", Back: true, At: time.Unix(100, 0).UTC(), New: "/green"}}
}
func (g *group) Learn(all []deployments.Direction) { g.learnt = all }
func (g *group) Moving() bool                      { return g.moving }

// answering are Relays, by URL, that answer without a network.
type answering map[string]*Peers

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	p := a["http://"+r.URL.Host]
	if p == nil {
		return nil, errors.New("connection refused")
	}
	q, err := Parse("", "", "", false)
	if q.Group = r.URL.Query().Get("group"); err != nil {
		return nil, err
	}
	return answered(http.StatusOK, string(encoded(p.Answer(q)))), nil
}

// asking returns a Relay that asks them, and what may not be there.
func (a answering) asking(urls ...string) *Peers {
	p := New(Config{URLs: urls}, &relay{}, slog.New(slog.DiscardHandler))
	p.client.Transport = a
	return p
}

// A Relay asks all others what is open at their Envoys, and says who could not be asked.
func TestTasks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, urls := answering{}, []string{"http://a", "http://b"}
		for i, url := range urls {
			all[url] = all.asking()
			all[url].Deployments = &group{open: i + 1, settled: true}
		}
		own := all.asking(urls...)
		said, err := own.Tasks(t.Context(), "imp")
		if err != nil || len(said) != 2 || said[0][0].Open+said[1][0].Open != 3 || !said[0][0].Settled {
			t.Errorf("%+v, %v", said, err)
		}
		if said, err := own.Tasks(t.Context(), "other"); err != nil || len(said) != 2 || len(said[0]) != 0 {
			t.Errorf("another group: %+v, %v", said, err)
		}
		own = all.asking("http://a", "http://b", "http://away")
		if said, err := own.Tasks(t.Context(), "imp"); err == nil || !strings.Contains(err.Error(), "http://away") || len(said) != 2 {
			t.Errorf("%+v, %v", said, err)
		}

		// Directions are learnt from each answer, and asked for often while a group moves.
		g := &group{}
		own = all.asking("http://a")
		own.Deployments = g
		if wait := own.poll(t.Context(), own.peers[0]); wait != seldom || len(g.learnt) != 1 || !g.learnt[0].Back || g.learnt[0].New != "/green" {
			t.Errorf("after %s: %+v", wait, g.learnt)
		}
		g.moving = true
		if wait := own.poll(t.Context(), own.peers[0]); wait != often {
			t.Errorf("while a group moves it is asked after %s", wait)
		}
	})
}

func encoded(a Answer) []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return text
}
