package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/history"
)

// changed waits for a change that all Envoys have, and that is as wanted.
func (r *runningRelay) changed(what string, wanted func(history.Change) bool) (found history.Change) {
	r.t.Helper()
	eventually(r.t, what, func() error {
		all := r.running.History().Last(100, 0)
		i := slices.IndexFunc(all, func(c history.Change) bool { return c.Converged != nil && wanted(c) })
		if i < 0 {
			text, _ := json.MarshalIndent(all, "", " ")
			return fmt.Errorf("there are %s", text)
		}
		found = all[i]
		return nil
	})
	return found
}

// says reports whether a change for an app or certificate says all texts, in its cause or what it changed.
func says(name string, texts ...string) func(history.Change) bool {
	return func(c history.Change) bool {
		all := c.Cause + "\n" + strings.Join(c.What, "\n")
		return (slices.Contains(c.Apps, name) || slices.Contains(c.Certificates, name)) &&
			!slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) })
	}
}

// The history says of each change what caused it, what differed, and how long it took until all
// Envoys had it.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.certs.issueUnnoticed()
	w.start()
	h := w.relay.running.History()
	first := h.Since(0, 1)
	if len(first) != 1 || first[0].Cause != "start" || !says("/seed", "new app", "domain seed.test added")(first[0]) {
		t.Errorf("the first change is %+v", first)
	}

	w.marathon.deploy(app("/a", "a.test", 1))
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	deployed := w.relay.changed("deployed", says("/a", "Marathon: ", "domain a.test added"))
	if deployed.Revision == 0 || deployed.Fleet != "external" || deployed.Envoys != 1 || *deployed.Converged <= 0 || *deployed.Converged > 20 || len(deployed.Waiting)+len(deployed.Rejected) > 0 {
		t.Errorf("a new app: %+v", deployed)
	}
	w.marathon.deploy(app("/a", "a.test", 2))
	w.relay.changed("scaled", says("/a", "port 0: +127.0.0.1:", "Marathon: ", " of task "))
	// Changes at one time are one, which names one cause.
	w.relay.changed("the task of before is gone", says("/a", " -127.0.0.1:"))
	for _, c := range h.OfApp("/a") {
		if !says("/a")(c) || len(c.What) == 0 || !strings.HasPrefix(c.Cause, "Marathon: ") {
			t.Errorf("of the app: %+v", c)
		}
	}
	if h.LastChanged("/a").Before(deployed.Time) {
		t.Errorf("last changed %s, deployed %s", h.LastChanged("/a"), deployed.Time)
	}

	w.certs.issueUnnoticed()
	w.admin.hook("usr1")
	w.relay.changed("by a hook", func(c history.Change) bool { return strings.Contains(c.Cause, "asked for by a hook") })
	w.certs.put("a.test.pem", []string{"a.test"}, certstest.Options{})
	renewed := w.relay.changed("renewed", says(w.certs.dir+"/a.test.pem", "files changed", "renewed: valid until 20"))
	if of := h.OfCertificate(renewed.Certificates[0]); len(of) < 2 || of[0].ID != renewed.ID {
		t.Errorf("of the certificate: %+v", of)
	}
	if sum := h.LastHour(); sum.Changes < 4 || sum.P50 == nil || *sum.P50 > 20 {
		t.Errorf("the last hour: %+v", sum)
	}

	w.relay.stop()
	w.relay.start()
	w.eventually("after a restart", func() error {
		if all := w.relay.running.History().Since(0, 1); len(all) != 1 || all[0].Cause != "start" || all[0].AppCount != 2 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

// An Envoy that rejects a change is named, with its reason. One that does not answer is waited for.
func TestHistoryOfRejections(t *testing.T) {
	w := newWorld(t)
	w.start()
	port, address := w.tcp.port()
	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	w.marathon.service("/db", []string{w.tcp.lines("db", nil)}, modeLabel, "tcp", portLabel, port)
	c := w.relay.changed("rejected", says("/db", "Marathon: "))
	if len(c.Rejected) != 1 || c.Rejected[0].Resource != "listeners tcp/"+port || c.Rejected[0].Envoy != "envoy" || !strings.Contains(c.Rejected[0].Error, "Address already in use") {
		t.Errorf("rejected: %+v", c.Rejected)
	}
}

// What the last change of an app changed is shown as Envoy shows it, without passwords.
func TestDiffAndConfigDump(t *testing.T) {
	w := newWorld(t)
	w.start()
	const password = "W6ph5Mm5Pz8GgiULbPgzG37mj9g"
	auth := []string{"HAPROXY_0_AUTH", "realm:user:{SHA}" + password + "="}
	w.marathon.deploy(app("/a", "a.test", 1))
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.marathon.deploy(app("/a", "a.test", 1, auth...))
	w.relay.changed("with a password", says("/a", "password changed"))
	w.eventually("the difference", func() error {
		diffs, err := w.relay.running.Diffs("/a")
		if err != nil || len(diffs) != 1 || !diffs[0].Known || len(diffs[0].Resources) == 0 {
			return fmt.Errorf("%+v, error %v", diffs, err)
		}
		text, _ := json.Marshal(diffs)
		if strings.Contains(string(text), password) {
			t.Fatalf("it shows the password: %s", text)
		}
		for _, r := range diffs[0].Resources {
			if !slices.Contains([]string{"endpoints", "scopes", "clusters"}, r.Type) || !strings.Contains(string(r.Before)+string(r.After), `"@type"`) {
				return fmt.Errorf("%s %s: %s -> %s", r.Type, r.Name, r.Before, r.After)
			}
		}
		return nil
	})
	status, text := w.admin.get("/api/v1/diff?app=/a")
	if status != http.StatusOK || strings.Contains(text, password) || !strings.Contains(text, `"what": [`) || !strings.Contains(text, `"known": true`) {
		t.Errorf("the API says %d: %s", status, text)
	}
	if status, text = w.admin.get("/api/v1/config-dump?fleet=external"); status != http.StatusOK || strings.Contains(text, password) || !strings.Contains(text, "[redacted]") || !strings.Contains(text, `"/a_0"`) {
		t.Errorf("the dump is %.2000s", text)
	}
	if status, text := w.admin.get("/api/v1/config-dump?fleet=external&type=clusters&name=/a_0"); status != http.StatusOK || !strings.Contains(text, `"/a_0"`) || strings.Contains(text, "a.test") {
		t.Errorf("the dump of one cluster is %d: %.2000s", status, text)
	}
	if status, _ := w.admin.get("/api/v1/config-dump?fleet=nothing"); status != http.StatusNotFound {
		t.Errorf("the dump of a fleet that does not exist has status %d", status)
	}
}
