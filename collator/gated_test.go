package collator

import (
	"slices"
	"testing"

	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

func gate(app *sources.App) *sources.App {
	gated := *app
	gated.Gated = true
	return &gated
}

func scalingFleet() routing.Fleet {
	fleet := plain()
	fleet.Scaling = true
	return fleet
}

// An app falls asleep and wakes in steps of which each touches what it has to, and no more.
func TestStepsOfSleep(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{Fleets: []routing.Fleet{scalingFleet()}})
	awake := webApp("/web", "web.test")
	syncApps(c, awake)
	r.Touched()
	scope, cluster, endpoints := "scopes \"web.test\"", "clusters \"/web_0\"", "endpoints \"/web_0\""
	for _, step := range []struct {
		name string
		app  *sources.App
		want []string
	}{
		{"requests wait", gate(awake), []string{"set " + scope}},
		{"its tasks have ended", asleep(awake), []string{"remove " + cluster, "remove " + endpoints}},
		{"it is read again", asleep(awake), nil},
		{"a task has started", gate(awake), []string{"set " + cluster, "set " + endpoints}},
		{"requests do not wait", awake, []string{"set " + scope}},
		{"it is asleep at once", asleep(awake), []string{"set " + scope, "remove " + cluster, "remove " + endpoints}},
		{"it is no app that sleeps any more, and has no task", stopped(awake), []string{"set " + cluster, "set " + endpoints, "set " + scope}},
	} {
		updateApps(c, step.app)
		if got := r.Touched(); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// While an app sleeps that is asked about requests to another one, Envoys have its cluster, without an instance: somebody
// else may be where its instances were.
func TestStepsOfSleepOfAnAppThatIsAsked(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{Fleets: []routing.Fleet{scalingFleet()}})
	awake, user := webApp("/shop/sso"), signedOn(webApp("/shop/web", "web.test"), "/shop/sso")
	syncApps(c, awake, user)
	r.Touched()
	scope, cluster, endpoints := "scopes \"web.test\"", "clusters \"/shop/sso_0\"", "endpoints \"/shop/sso_0\""
	for _, step := range []struct {
		name string
		app  *sources.App
		want []string
	}{
		{"requests wait", gate(awake), []string{"set " + scope}},
		{"its tasks have ended", asleep(awake), []string{"set " + endpoints}},
		{"a task has started", gate(awake), []string{"set " + endpoints}},
		{"requests do not wait", awake, []string{"set " + scope}},
		{"it is asleep at once", asleep(awake), []string{"set " + endpoints, "set " + scope}},
	} {
		updateApps(c, step.app)
		if got := r.Touched(); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	c.UpdateApps(nil, []string{user.ID})
	c.round()
	if got := r.Touched(); !slices.Contains(got, "remove "+cluster) || !slices.Contains(got, "remove "+endpoints) {
		t.Errorf("nobody asks it any more: %q", got)
	}
	updateApps(c, user)
	if got := r.Touched(); !slices.Contains(got, "set "+cluster) || !slices.Contains(got, "set "+endpoints) {
		t.Errorf("it is asked while it sleeps: %q", got)
	}
}

// What clusters are there without an instance.
func TestClustersOfAppsThatSleep(t *testing.T) {
	t.Parallel()
	service := changed(webApp("/tcp"), func(p *sources.Port) { p.TCP = &sources.TCP{Port: 5432} })
	for _, tt := range []struct {
		name    string
		app     *sources.App
		scaling bool
		want    bool
	}{
		{"asleep", asleep(webApp("/web", "web.test")), true, false},
		{"scaled to 0", stopped(webApp("/web", "web.test")), true, true},
		{"a fleet without scaling", asleep(webApp("/web", "web.test")), false, true},
		{"a TCP service, which a listener names", asleep(service), true, true},
		{"the app for ACME, which all scopes name", asleep(webApp("/marathon-acme", "acme.test")), true, true},
	} {
		fleet := plain()
		fleet.Scaling = tt.scaling
		c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
		syncApps(c, tt.app)
		if got := slices.Contains(r.Names(0), routing.ClusterName(tt.app.ID, 0)); got != tt.want {
			t.Errorf("%s: has a cluster: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Requests to a group wait if a member sleeps, and no other can answer.
func TestGroupThatSleeps(t *testing.T) {
	t.Parallel()
	blue := func(addresses ...string) *sources.App { return collatortest.Member("/web-blue", 1, addresses...) }
	green := func(addresses ...string) *sources.App { return collatortest.Member("/web-green", 2, addresses...) }
	const address, other = "10.0.0.1:1", "10.0.0.2:1"
	for _, tt := range []struct {
		name    string
		members []*sources.App
		want    bool
	}{
		{"both run", []*sources.App{blue(address), green(other)}, false},
		{"one falls asleep, the other runs", []*sources.App{gate(blue(address)), green(other)}, false},
		{"one sleeps, the other runs", []*sources.App{gate(blue()), green(other)}, false},
		{"the only one falls asleep", []*sources.App{gate(green(other))}, true},
		{"one falls asleep, the other was stopped", []*sources.App{blue(), gate(green(other))}, true},
		{"one sleeps, the other starts", []*sources.App{gate(blue()), green()}, true},
		{"both sleep", []*sources.App{gate(blue()), gate(green())}, true},
		{"both are stopped", []*sources.App{blue(), green()}, false},
	} {
		if got := merge("deployment-group/web", tt.members).Gated; got != tt.want {
			t.Errorf("%s: requests wait: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Where a route has no room to wait for an app that is asked, it is served as if nobody could wake that one, and asks it all the same.
func TestNoRoomToWaitForAnAppThatIsAsked(t *testing.T) {
	t.Parallel()
	fleet := scalingFleet()
	fleet.RateLimitService = "127.0.0.1:8081"
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	few := []string{"AUTH_APP=/shop/sso", "AUTH=shop:joe:$6$salt$U6Yv5E1lWn6mEESzKen42o6rbEmFNLlq6Ik9X3reMXY3doKEuxrcDohKUx0Oxf44aeTIxGEjssvtT1aKyZHjs1", "RATE_LIMIT=10/s"}
	syncApps(c, set(t, webApp("/shop/few", "few.test"), few...), set(t, webApp("/shop/many", "many.test"), append(few, "MAX_REQUEST_BODY=20MB")...), asleep(webApp("/shop/sso")))
	for domain, want := range map[string]int{"few.test": 3, "many.test": 2} { // with the one that checks the password
		msg, err := c.fleets[0].build(xds.Key{Type: xds.Scope, Name: domain})
		if err != nil {
			t.Fatalf("%s: %v", domain, err)
		}
		asks := 0
		everyMessage(t, msg, func(m proto.Message) {
			if _, ok := m.(*extauthzv3.ExtAuthz); ok {
				asks++
			}
		})
		if asks != want {
			t.Errorf("%s: %d times somebody is asked, want %d", domain, asks, want)
		}
	}
}
