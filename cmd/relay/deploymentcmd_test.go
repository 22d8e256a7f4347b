package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// deploymentRelay is a Relay whose group goes from one state to the next with each step.
type deploymentRelay struct {
	*fakeRelay
	states []api.Deployment
	at     int
	posts  []string
	// refuse are statuses of the first steps, which are not made.
	refuse []int
}

func newDeploymentRelay(t *testing.T, states ...api.Deployment) *deploymentRelay {
	t.Helper()
	d := &deploymentRelay{fakeRelay: newFakeRelay(t), states: states}
	d.answers["deployments/imp"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { d.write(w, 200, d.states[d.at]) })
	for _, action := range []string{"advance", "rollback"} {
		d.answers["deployments/imp/"+action] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.posts = append(d.posts, r.Method+" "+action+" "+r.URL.RawQuery)
			if len(d.refuse) > 0 {
				status := d.refuse[0]
				d.refuse = d.refuse[1:]
				d.write(w, status, api.DeploymentStep{Error: "a deployment of the app is running", Deployment: d.states[d.at]})
				return
			}
			d.at = min(d.at+1, len(d.states)-1)
			d.write(w, 200, api.DeploymentStep{Deployment: d.states[d.at]})
		})
	}
	pauseFor = func(context.Context, time.Duration) error { return nil }
	t.Cleanup(func() { pauseFor = pause })
	return d
}

func (d *deploymentRelay) write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// With --wait, steps are made until nothing is left to do, each of the state that was seen.
func TestDeploymentIsWalked(t *testing.T) {
	more, waits, done := fakeDeployment(), fakeStep().Deployment, fakeDeployment()
	waits.Next = []api.DeploymentChange{{App: "/imp-blue", From: 2, To: 1}}
	done.Next, done.Waiting, done.Done, done.State = nil, nil, true, "5f2e"
	d := newDeploymentRelay(t, more, waits, done)
	d.refuse = []int{http.StatusConflict, http.StatusBadGateway}
	status, out, errs := command(t, "deployment", "imp", "advance", "--wait", "--instances", "1")
	if status != 0 || !strings.Contains(out, "done") || strings.Count(errs, "the next try") != 2 || !strings.Contains(errs, "412 connections") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	want := "POST advance instances=1&state=5f2c|POST advance instances=1&state=5f2c|POST advance instances=1&state=5f2c|POST advance instances=1&state=5f2d"
	if got := strings.Join(d.posts, "|"); got != want {
		t.Errorf("posts %s, want %s", got, want)
	}

	// The direction is turned though all is done in the other one.
	back := done
	back.Back, back.State = true, "5f2f"
	d = newDeploymentRelay(t, done, back)
	if status, out, errs := command(t, "deployment", "imp", "rollback", "--wait", "--force"); status != 0 || len(d.posts) != 1 || d.posts[0] != "POST rollback force=true&state=5f2e" {
		t.Errorf("status %d, posts %q\n%s%s", status, d.posts, out, errs)
	}

	// What is refused for good ends it, and so does what fails again and again.
	for code, posts := range map[int]int{http.StatusForbidden: 1, http.StatusBadGateway: walkFailures} {
		d = newDeploymentRelay(t, more)
		for range 2 * walkFailures {
			d.refuse = append(d.refuse, code)
		}
		if status, _, errs := command(t, "deployment", "imp", "advance", "--wait"); status != statusWrong || len(d.posts) != posts || !strings.Contains(errs, "is running") {
			t.Errorf("%d: status %d, %d posts: %s", code, status, len(d.posts), errs)
		}
	}
}

func TestDeploymentStep(t *testing.T) {
	d := newDeploymentRelay(t, fakeDeployment())
	if status, _, _ := command(t, "deployment", "imp", "advance"); status != 0 || len(d.posts) != 1 || d.posts[0] != "POST advance " {
		t.Errorf("status %d, %q", status, d.posts)
	}
	d.refuse = []int{http.StatusConflict}
	if status, _, errs := command(t, "deployment", "/imp/", "rollback", "--instances", "2"); status != statusWrong || !strings.Contains(errs, "is running") || d.posts[1] != "POST rollback instances=2" {
		t.Errorf("status %d, %q: %s", status, d.posts, errs)
	}
	for _, args := range [][]string{
		{"deployment", "imp", "--wait"}, {"deployment", "imp", "status", "--force"}, {"deployment", "imp", "advance", "--instances", "-1"}, {"deployment", "imp", "sideways"},
	} {
		if status, _, _ := command(t, args...); status != statusUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
	if status, _, errs := command(t, "deployment", "none"); status != statusWrong || !strings.Contains(errs, "relay deployment finds") {
		t.Errorf("status %d: %s", status, errs)
	}
	if status, _, errs := command(t, "deployment", "none", "advance"); status != statusWrong {
		t.Errorf("status %d: %s", status, errs)
	}
}
