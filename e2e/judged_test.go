package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/statuspage"
)

// pageStates are the states of the services on a page, a word for each.
func pageStates(url string) (string, error) {
	status, body, err := read(http.DefaultClient, url+"/status.json")
	if err != nil || status != http.StatusOK {
		return "", fmt.Errorf("status %d: %w", status, err)
	}
	var view statuspage.View
	if err := json.Unmarshal([]byte(body), &view); err != nil {
		return "", err
	}
	var words []string
	for _, s := range view.Services {
		words = append(words, string(s.State))
	}
	return strings.Join(words, " "), nil
}

// The public sees what is so of a real Envoy that Relay's own probes ask: up, down within a minute after the Envoy was
// killed, and up again when it has been well for a minute.
func TestPublicSeesWhatIsSo(t *testing.T) {
	w := newWorld(t)
	w.relay.config.Probes.Enabled, w.relay.config.Probes.File = true, w.probeFile("")
	url, _ := w.relay.publicPage("services:\n- {name: Shop, domains: [shop.test]}\n- {name: Blog, apps: [/blog]}\n- {name: Edge, fleets: ['*']}\n")
	w.marathon.deploy(app("/shop", "shop.test", 1, "RELAY_0_PROBE", "/"), app("/blog", "blog.test", 1, "RELAY_0_PROBE", "/"))
	w.start()
	is := func(want string, limit time.Duration) time.Duration {
		t.Helper()
		return becomes(t, "the page says "+want, limit, func() error {
			got, err := pageStates(url)
			if err == nil && got != want {
				err = fmt.Errorf("%s", got)
			}
			return err
		})
	}
	is("up up up", time.Minute)
	w.envoy.Kill()
	down := is("down down down", time.Minute)
	w.envoy.start()
	w.envoy.ready()
	up := is("up up up", 2*time.Minute)
	t.Logf("down after %s, up %s after the Envoy was back", down.Round(time.Second), up.Round(time.Second))
}
