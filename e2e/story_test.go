package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"relay/admin/api"
)

// An app's story begins with its labels, as they are now: known and mistyped ones, on the page,
// in the JSON and in the shell. What is secret in them is nowhere.
func TestLabelsInTheStory(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	const hush, inHeader = "hunter2", "swordfish" // saved state has the values of headers
	hostile := `"'><script>alert(1)</script>` + "\x1b[2J\u202e"
	labels := []string{
		"HAPROXY_0_VHOTS", "typo.test", "HAPROXY_0_BALANCE", hostile, "HAPROXY_0_" + hostile, hush,
		"HAPROXY_0_AUTH", "Shop:joe:" + hush, "HAPROXY_0_AUHT", hush, "RELAY_0_PASSWORD_OF_THE_APP", hush,
		"RELAY_0_REQUEST_HEADERS_TO_ADD", "X-Origin: " + inHeader, "HAPROXY_0_USERLIST_HEAD", "user joe insecure-password " + hush,
	}
	w.marathon.deploy(app("/shop/web", "shop.test", 1, labels...))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusForbidden, "") // that is no hash of a password
	w.admin.settled()
	var story api.AppStory
	if !w.admin.read("/api/v1/apps/shop/web", &story) {
		t.Fatal("there is no story")
	}
	for name, want := range map[string]string{
		"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.test", "HAPROXY_0_VHOTS": "typo.test", "HAPROXY_0_AUTH": "REDACTED", "HAPROXY_0_AUHT": "REDACTED",
		"RELAY_0_REQUEST_HEADERS_TO_ADD": "X-Origin: REDACTED", "RELAY_0_PASSWORD_OF_THE_APP": "REDACTED",
	} {
		if story.Labels[name] != want {
			t.Errorf("%s is %q, want %q", name, story.Labels[name], want)
		}
	}
	if len(story.Labels) != 2+len(labels)/2 || story.MoreLabels != 0 {
		t.Errorf("it has %d labels and %d more", len(story.Labels), story.MoreLabels)
	}
	w.shows(1, []string{"app", "/shop/web"}, "Labels\n", "HAPROXY_0_VHOST=shop.test\n", "HAPROXY_0_VHOTS=typo.test\n", "HAPROXY_0_AUTH=REDACTED\n")
	_, page := w.admin.get("/apps/shop/web")
	_, out, _ := w.command("app", "/shop/web")
	for _, text := range []string{"<code>HAPROXY_0_VHOTS</code></dt><dd><code>typo.test</code><p", "did you mean HAPROXY_0_VHOST?", "&lt;script&gt;alert"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page has no %q", text)
		}
	}
	w.marathon.deploy(app("/shop/web", "shop.test", 1, "RELAY_0_TIMEOUT", "7s"))
	w.eventually("the story has the labels of now", func() error {
		var now api.AppStory
		if w.admin.read("/api/v1/apps/shop/web", &now); now.Labels["RELAY_0_TIMEOUT"] != "7s" || len(now.Labels) != 3 {
			return fmt.Errorf("%v", now.Labels)
		}
		return nil
	})
	_, saved := w.relay.stateFile("apps-marathon.state")
	for where, seen := range map[string]string{"pages": w.admin.pages() + page, "shell": out, "log": w.relay.log.String(), "saved state": string(saved)} {
		if strings.Contains(seen, hush) || strings.Contains(seen, inHeader) && where != "saved state" {
			t.Errorf("a secret of a label is in the %s", where)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(out, "\x1b[2J") {
		t.Error("a label is not escaped")
	}
}
