package peers

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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

// A Relay asks all others what is open at their Envoys, and says who could not be asked.
func TestTasks(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	var urls []string
	for i := range 2 {
		p := New(Config{}, &relay{}, quiet)
		p.Deployments = &group{open: i + 1, settled: true}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q, err := Parse("", "", "", false)
			if q.Group = r.URL.Query().Get("group"); err != nil {
				t.Error(err)
			}
			_, _ = w.Write(encoded(p.Answer(q)))
		}))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	own := New(Config{URLs: urls}, &relay{}, quiet)
	said, err := own.Tasks(t.Context(), "imp")
	if err != nil || len(said) != 2 || said[0][0].Open+said[1][0].Open != 3 || !said[0][0].Settled {
		t.Errorf("%+v, %v", said, err)
	}
	if said, err := own.Tasks(t.Context(), "other"); err != nil || len(said) != 2 || len(said[0]) != 0 {
		t.Errorf("another group: %+v, %v", said, err)
	}
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	own = New(Config{URLs: append(urls, away.URL)}, &relay{}, quiet)
	if said, err := own.Tasks(t.Context(), "imp"); err == nil || !strings.Contains(err.Error(), away.URL) || len(said) != 2 {
		t.Errorf("%+v, %v", said, err)
	}

	// Directions are learnt from each answer, and asked for often while a group moves.
	g := &group{}
	own = New(Config{URLs: urls[:1]}, &relay{}, quiet)
	own.Deployments = g
	if wait := own.poll(t.Context(), own.peers[0]); wait != seldom || len(g.learnt) != 1 || !g.learnt[0].Back || g.learnt[0].New != "/green" {
		t.Errorf("after %s: %+v", wait, g.learnt)
	}
	g.moving = true
	if wait := own.poll(t.Context(), own.peers[0]); wait != often {
		t.Errorf("while a group moves it is asked after %s", wait)
	}
}

func encoded(a Answer) []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return text
}
