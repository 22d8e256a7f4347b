package e2e

import (
	"html"
	"net/http"
	"strings"
	"testing"
)

// Hosts that are no proper names of hosts are served, in any case, by HTTP and by HTTPS with a
// wildcard certificate.
func TestOddHosts(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("*.test")
	w.certs.issue("*.my_zone.test")
	w.marathon.deploy(
		app("/odd", "my_app.test, r3---sn-x.test, -dash-.test, 10.0.0.9, intranet, dot.test.", 1),
		app("/zone", "*.My_Zone.test", 1),
		app("/acme", "to_https.test", 1, "MARATHON_ACME_0_DOMAIN", "to_https.test", "HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
		app("/refused", "a.test:8080, [::1], xn--a.test, ok.test", 1),
	)
	w.start()
	for _, host := range []string{"my_app.test", "MY_App.test", "my_app.test.", "My_App.test:8080", "r3---sn-x.test", "-dash-.test", "10.0.0.9", "10.0.0.9:80", "intranet", "INTRANET.", "dot.test"} {
		if a := w.clients.do("http://seed.test/", "Host", host); a.status != http.StatusOK || a.header.Get("X-App") != "/odd" {
			t.Errorf("Host %s: %d by %s", host, a.status, a.header.Get("X-App"))
		}
	}
	w.clients.expect("https://my_app.test/", http.StatusOK, "/odd")
	w.clients.expect("https://r3---sn-x.test/", http.StatusOK, "/odd")
	w.clients.expect("http://a_b.my_zone.test/", http.StatusOK, "/zone")
	w.clients.expect("https://a_b.my_zone.test/", http.StatusOK, "/zone")
	w.tls.wantShown("MY_APP.test", "*.test")
	w.clients.expect("http://to_https.test/", http.StatusMovedPermanently, "")
	w.clients.expect("https://to_https.test/", http.StatusOK, "/acme")
	w.clients.expect("http://ok.test/", http.StatusOK, "/refused")
	w.admin.problem("/acme", "no authority gives a certificate for to_https.test by ACME: it has an underscore")
	w.admin.problem("/refused", "is taken as a.test")
	w.admin.problem("/refused", "IPv6 address")
	w.admin.problem("/refused", "xn--a.test")
	for subject, want := range map[string]string{
		"MY_app.test": "certificate dir/" + w.certs.dir, "a_b.my_zone.test": "by *.my_zone.test", "10.0.0.9": "no certificate covers the name",
	} {
		if status, out, _ := w.admin.explain(subject); status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s is explained by\n%s", subject, out)
		}
	}
	w.envoy.accepted()
}

// What is nearly a label of Relay, or nearly a fleet, is told wherever people look, also of an app
// that nothing else makes one of Relay's. What other programs have is not.
func TestNearMisses(t *testing.T) {
	w := newWorld(t)
	lonely := func(id, key string) string {
		return `{"id":"` + id + `","instances":1,"labels":{"` + key + `":"external"},"portDefinitions":[{"port":0}]}`
	}
	w.marathon.deploy(
		lonely("/space", " HAPROXY_GROUP"), lonely("/case", "haproxy_group"), lonely("/typo", "HAPOXY_GROUP"), lonely("/look", "H\u0410PROXY_GROUP"),
		app("/index", "index.test", 1, "HAPROXY1_VHOST", "b.test", "HAPROXY-0-PATH", "/x", "MARATHON-ACME_0_DOMAIN", "index.test"),
		app("/group", "group.test", 1, "HAPROXY_GROUP", "External"),
		app("/other", "other.test", 1, "HAPROXY_GROUP", "public,external", "HAPROXY_APP_ID", "other", "HAPROXY_DEPLOYMENT_ALT_PORT", "1", "traefik.enable", "true",
			"DCOS_PACKAGE_NAME", "x", "MARATHON_SINGLE_INSTANCE_APP", "true", "PROXY_X", "1", "HAPPY_X", "1"),
	)
	w.start()
	w.clients.expect("http://other.test/", http.StatusOK, "/other")
	wants := map[string]string{
		"/space": `did you mean HAPROXY_GROUP? As it is written, it is " HAPROXY_GROUP"`, "/case": "did you mean HAPROXY_GROUP?", "/typo": "did you mean HAPROXY_GROUP?",
		"/look": `it is "H\u0410PROXY_GROUP"`, "/index": "did you mean HAPROXY_1_VHOST?", "/group": `"External" is no fleet of this Relay: did you mean external? The fleets are external`,
	}
	_, page := w.admin.get("/")
	status, out, _ := command(t, "check", "--marathon", w.marathon.URL(), "--https", w.clients.https, "--certs-dir", w.certs.dir)
	for id, want := range wants {
		w.admin.problem(id, want)
		if _, explained, _ := w.admin.explain(id); !strings.Contains(explained, want) {
			t.Errorf("%s is explained by\n%s", id, explained)
		}
		if status == 0 || !strings.Contains(out, "app "+id+":") || !strings.Contains(out, want) {
			t.Errorf("check does not tell of %s: %d\n%s", id, status, out)
		}
		if !strings.Contains(page, html.EscapeString(want)) {
			t.Errorf("the page does not tell of %s", id)
		}
	}
	w.admin.problem("/index", "did you mean HAPROXY_0_PATH?")
	w.admin.problem("/index", "did you mean MARATHON_ACME_0_DOMAIN?")
	for _, p := range w.admin.problems() {
		if p.Subject == "/other" {
			t.Errorf("labels of others are a problem: %+v", p)
		}
	}
	if _, explained, _ := w.admin.explain("/other"); !strings.Contains(explained, "also in the groups public, which are no fleets of this Relay") {
		t.Errorf("/other is explained by\n%s", explained)
	}
	if view, _ := w.admin.app("/other"); len(view.Ports) != 1 || len(view.Ports[0].OtherGroups) != 1 || view.Ports[0].OtherGroups[0] != "public" {
		t.Errorf("/other is shown as %+v", view)
	}
}
