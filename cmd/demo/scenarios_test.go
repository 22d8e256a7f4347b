package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"relay/testdata/scenarios"
)

// A scenario goes on, with a row of figures a second and the status page at hand, until it is
// interrupted; then nothing is left.
func TestScenario(t *testing.T) {
	t.Parallel()
	page := regexp.MustCompile(`status page: (http://\S+)`)
	row := regexp.MustCompile(`\d\d:\d\d:\d\d +([1-9]\d*) .*\b[a-z]+-\d+ \d+`)
	for _, construct := range scenarios.All {
		name := construct().Name
		if len(construct().Keys) > 0 {
			continue // it has no figures
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil, "--scenario", name)
			var url []string
			eventually(t, "figures with requests and servers", func() error {
				if url = page.FindStringSubmatch(p.output()); url == nil || !row.MatchString(p.output()) {
					return fmt.Errorf("not yet")
				}
				return nil
			})
			resp, err := http.Get(url[1] + "/")
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "Relay") {
				t.Errorf("the status page: %s", resp.Status)
			}
			children := p.children(2)
			if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if err := p.ends(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			p.leavesNothing(children)
		})
	}
}

// Who mistypes a scenario is told which there are.
func TestUnknownScenario(t *testing.T) {
	t.Parallel()
	p := launch(t, nil, "--scenario", "impp")
	if err := p.ends(); err == nil || !strings.Contains(p.output(), `no scenario "impp": there are heroku, imp`) {
		t.Errorf("it ended with %v, and says %s", err, p.output())
	}
	p.leavesNothing(nil)
}
