package marathon

// What is known to go wrong between Marathon and a load balancer, by number, and
// the tests that hold against it. Tests without a number in their names are in
// the other files of this package, or where it is said.
//
//	 1 a change between the full read and the subscription   TestNothingIsReadBeforeTheFirstEvent, TestEventDuringFullRead
//	 2 events lost silently, or the stream closed            TestTrap02EventsLostSilently, TestPeriodicReadHealsLostEvents, TestCutStreamIsFollowedByAFullRead
//	 3 a failover emits nothing                              TestTrap03KilledLeaderInMidDeployment
//	 4 half-open connections                                 TestTrap04HalfOpenTCP, TestSilentStreamIsDropped
//	 5 reconnecting hides the gap                            TestEndOfStreamEndsTheConnection, TestCutStreamIsFollowedByAFullRead
//	 6 the first URL is down                                 TestNextURLAfterFailure
//	 7 a redirect drops the credentials                      TestTrap07RedirectToAnotherHostName, TestRedirectToLeader, TestCredentialsStayAmongOurHosts
//	 8 200 and the end, and 502, while a leader is elected   TestTrap08Election, TestBackoff
//	 9 versions compared as text                             TestTrap09VersionsAreTimes, TestOlderVersionHasToBeConfirmed
//	10 late news of an earlier task or app                   TestTrap10DeletedAndCreatedAgain, TestStaleAnswerBringsNothingBack
//	11 an event before its app is known                      TestTrap11EventOfAnUnknownApp
//	12 one domain twice                                      TestClashMovesToTheLowestID (collator), TestBadApps (e2e)
//	13 invalid domains                                       TestTrap17OneBadAppAmongAThousand, TestRead (labels)
//	14 wildcards, 15 ports in the host header                TestWildcardDomainsLeaveOthersAlone, TestEnvoy (collator), TestRouting (e2e)
//	16 misspelt labels, 17 labels that break the parser      TestTrap17OneBadAppAmongAThousand, TestRead (labels)
//	18 event storms                                          TestTrap18EventStorm, TestEventsAreCoalesced, TestGroupEventsArePaced
//	19 huge answers                                          BenchmarkFullReadUnchanged, TestManyChangesMakeOneFullRead
//	20 an empty or partial list                              TestTrap20EmptyList, TestShrunkListHasToBeConfirmed, TestFailedReadsChangeNothing
//	21 a task without address yet                            TestTrap21AddressComesLate
//	22 host port 0, or fewer than declared                   TestTrap22MissingHostPorts
//	23 apps without ports, containers or labels              TestConvertAppGolden (v1.11_no_ports, v0.13_host_nulls)
//	24 health unknown after a failover, null results         TestTrap03KilledLeaderInMidDeployment, TestLostResultsChangeNothing, TestCheckResults
//	25 no TASK_KILLING                                       TestTrap25NoTaskKilling
//	26 tasks that stay listed without ports                  TestTrap26UnreachableTasksStayListed
//	27 names of agents                                       TestAgentNamesAreResolvedInTheBackground, TestResolverKeepsTheLastGoodAnswer
//	28 long names of clusters                                TestTrap28LongNames (e2e)
//	29 clusters removed while they are named                 TestModel (xds), TestHandover, TestChurn (e2e)
//	30 one service port twice, 31 ports that are not free    TestServiceProblems (collator), TestTCPServices, TestTCPAll (e2e)
//	32 a deployment that is rolled back                      TestTrap32RolledBack
//	33 a pod with the id of a deleted app                    TestTrap33PodTakesAnAppsID
//	34 addresses of Docker's bridge                          TestTrap34BridgeAddresses
//	35 credentials in logs                                   TestTrap35CredentialsAreNotShown, TestServiceAccount, TestTokenFile
//
// Beyond the list: TestTwoLeadersAreNeverMerged, TestOldReleases, TestIDsOfSubResources, TestNoisyNeighbour.

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

func TestTrap02EventsLostSilently(t *testing.T) {
	t.Parallel()
	quirks := marathontest.QuirksOf("1.7.50")
	quirks.Outstanding = 1
	m := marathontest.Start(t, marathontest.Options{Quirks: &quirks, Phantom: marathontest.PhantomTasks()})
	cfg := fastConfig(m.URL())
	cfg.SyncInterval = 100 * time.Millisecond
	_, sink, _ := watch(t, cfg)
	poll(t, "subscribed", func() bool { return m.Streams() == 1 })
	for i := range 50 {
		if err := m.Apply(fmt.Sprintf(`{"id":"/app%d","instances":2,"portDefinitions":[{}]}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	idle(t, m)
	sink.await(t, "all apps in the end", func(s string) bool { return strings.Count(s, "/healthy") == 100 })
	if n := m.Streams(); n != 1 {
		t.Errorf("%d streams: the one there was has to stay", n)
	}
}

// TestTrap03KilledLeaderInMidDeployment kills the leader while an app is being
// replaced. Nobody tells what happened until another one leads, which has
// no health results.
func TestTrap03KilledLeaderInMidDeployment(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{ManualHealth: true, Phantom: marathontest.PhantomTasks(), KillGrace: 5 * time.Millisecond})
	second, err := m.AddMaster()
	if err != nil {
		t.Fatal(err)
	}
	const app = `{"id":"/a","instances":2,"healthChecks":[{"protocol":"HTTP","gracePeriodSeconds":300}],"portDefinitions":[{}],"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"%s.test"}}`
	w, sink, _ := watch(t, fastConfig(m.URL(), second.URL()))
	running := func(n int) {
		t.Helper()
		poll(t, fmt.Sprintf("%d tasks run", n), func() bool {
			missing := n
			for _, task := range m.Tasks("/a") {
				if task.State == "TASK_RUNNING" {
					missing--
				}
			}
			return missing <= 0
		})
	}
	healthy := func() {
		t.Helper()
		for _, task := range m.Tasks("/a") {
			if task.State == "TASK_RUNNING" {
				_ = m.SetHealth(task.ID, true) // fails only when the task is gone
			}
		}
	}
	if err := m.Apply(fmt.Sprintf(app, "one")); err != nil {
		t.Fatal(err)
	}
	running(2)
	healthy()
	idle(t, m)
	sink.await(t, "deployed", func(s string) bool { return strings.Count(s, "/healthy") == 2 })
	other := marathontest.App{Definition: fmt.Sprintf(strings.Replace(app, "/a", "/b", 1), "b"), Tasks: []marathontest.Task{
		{ID: "b.1", Host: "10.9.9.9", Ports: []int{31000}}, {ID: "b.2", Host: "10.9.9.8", Ports: []int{31000}},
	}}
	if err := m.LoadApps(other); err != nil {
		t.Fatal(err)
	}
	reload(t, w)

	if err := m.Apply(fmt.Sprintf(app, "two")); err != nil {
		t.Fatal(err)
	}
	running(4)
	m.Down()
	poll(t, "noticed", func() bool { return !w.currentState().connected })
	if s := sink.state(); strings.Count(s, "/healthy") != 4 {
		t.Errorf("what was known did not stay in use:\n%s", s)
	}
	m.Elect(second)
	poll(t, "connected to the new leader", func() bool { s := w.Status(); return s.Connected && s.Name == second.URL() })
	if s := sink.state(); strings.Count(s, "b.1@10.9.9.9:31000/healthy") != 1 || strings.Count(s, "/healthy") != 4 || !strings.Contains(s, "[two.test]") {
		t.Errorf("checkResults were lost with the old leader:\n%s", s)
	}
	healthy()
	idle(t, m)
	sink.await(t, "replaced", func(s string) bool {
		want := m.Tasks("/a")
		return len(want) == 2 && strings.Contains(s, want[0].ID) && strings.Contains(s, want[1].ID) && strings.Count(s, "/healthy") == 4
	})
}

func TestTrap04HalfOpenTCP(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Heartbeat: 20 * time.Millisecond})
	load(t, m, "/a")
	cfg := fastConfig(m.URL())
	cfg.IdleTimeout = 200 * time.Millisecond
	w, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	m.SetStreams(marathontest.StreamsSilent) // the stream stays open, without a byte
	load(t, m, "/b")
	poll(t, "given up", func() bool { return strings.Contains(w.currentState().lastError, errIdle.Error()) })
	m.SetStreams(marathontest.StreamsServe)
	sink.await(t, "read again", contains("/b "))
}

func TestTrap07RedirectToAnotherHostName(t *testing.T) {
	t.Parallel()
	opts := marathontest.Options{Credentials: "relay:hunter2"}
	leader, standby := marathontest.Start(t, opts), marathontest.Start(t, opts)
	load(t, leader, "/a")
	standby.SetStandby(strings.Replace(leader.URL(), "127.0.0.1", "localhost", 1))
	cfg := fastConfig(withUser(t, standby.URL(), "relay", "hunter2"))
	w, _, logged := watch(t, cfg)
	poll(t, "refused there without credentials", func() bool {
		return strings.Contains(w.currentState().lastError, "localhost") && strings.Contains(w.currentState().lastError, "401")
	})
	shows(t, w, logged, "hunter2")
	cfg.TrustedHosts = []string{"localhost"}
	w, sink, logged := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	if url := w.currentState().url; !strings.Contains(url, "localhost") {
		t.Errorf("URL %s", url)
	}
	shows(t, w, logged, "hunter2")
}

// TestTrap08Election has a Marathon that is elected and not ready, and then none.
func TestTrap08Election(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	cfg := fastConfig(m.URL())
	cfg.BackoffMin, cfg.BackoffMax = 20*time.Millisecond, 50*time.Millisecond
	w, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	start := m.Requests(marathontest.KindEvents)
	began := time.Now()
	m.SetStreams(marathontest.StreamsEnd)
	poll(t, "attempts", func() bool { return m.Requests(marathontest.KindEvents) >= start+5 })
	remove := m.Inject(marathontest.KindEvents, marathontest.Fault{Status: 502, Body: `{"message":"Could not determine the current leader"}`})
	poll(t, "502", func() bool { return strings.Contains(w.currentState().lastError, "502") })
	attempts, most := m.Requests(marathontest.KindEvents)-start, int(time.Since(began)/(10*time.Millisecond))+1
	if attempts > most {
		t.Errorf("%d attempts, want at most %d: each waits", attempts, most)
	}
	remove()
	m.SetStreams(marathontest.StreamsServe)
	poll(t, "connected", func() bool { return w.currentState().connected })
	if n := sink.count(&sink.fewest); n != 1 {
		t.Errorf("down to %d apps", n)
	}
}

func TestTrap09VersionsAreTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version, than string
		older         bool
	}{
		{"2024-05-01T10:00:00Z", "2024-05-01T10:00:00.000Z", false},
		{"2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00Z", false},
		{"2024-05-01T10:00:00Z", "2024-05-01T10:00:00.001Z", true}, // as text it is the other way round
		{"2024-05-01T12:00:00+02:00", "2024-05-01T10:00:01Z", true},
		{"1", "2", false},
		{"", "2024-05-01T10:00:00Z", false},
	} {
		if got := older(tt.version, tt.than); got != tt.older {
			t.Errorf("older(%s, %s) = %v", tt.version, tt.than, got)
		}
	}
}

// TestTrap10DeletedAndCreatedAgain brings late news of the first app.
func TestTrap10DeletedAndCreatedAgain(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Phantom: marathontest.PhantomTasks(), KillGrace: 100 * time.Millisecond})
	w, sink, _ := watch(t, fastConfig(m.URL()))
	const app = `{"id":"/a","portDefinitions":[{}],"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"%s.test"}}`
	if err := m.Apply(fmt.Sprintf(app, "first")); err != nil {
		t.Fatal(err)
	}
	idle(t, m)
	sink.await(t, "first", contains("/healthy"))
	old := m.Tasks("/a")[0].ID
	if err := m.DeleteApp("/a"); err != nil {
		t.Fatal(err)
	}
	request(t, http.MethodPut, m.URL()+"/v2/apps/a?force=true", fmt.Sprintf(app, "second")) // the tasks of the first one still drain
	idle(t, m)
	m.Publish("status_update_event", map[string]any{"appId": "/a", "taskId": old, "taskStatus": "TASK_KILLED"})
	m.Publish("app_terminated_event", map[string]any{"appId": "/a"})
	sink.await(t, "second", func(s string) bool { return strings.Contains(s, "[second.test]") && strings.Contains(s, "/healthy") })
	reload(t, w)
	if s := sink.state(); !strings.Contains(s, m.Tasks("/a")[0].ID+"@") || strings.Contains(s, old) {
		t.Errorf("not the second app:\n%s", s)
	}
}

// TestTwoLeadersAreNeverMerged has two that lead, each with its own idea of the apps.
func TestTwoLeadersAreNeverMerged(t *testing.T) {
	t.Parallel()
	one, two := marathontest.Start(t, marathontest.Options{}), marathontest.Start(t, marathontest.Options{})
	load(t, one, "/both", "/one", "/more")
	load(t, two, "/both", "/two", "/else")
	_, sink, _ := watch(t, fastConfig(one.URL(), two.URL()))
	sink.await(t, "the first", contains("/one "))
	one.Down()
	sink.await(t, "the second", contains("/two "))
	for _, seen := range strings.Split(sink.state(), "\n") {
		if strings.HasPrefix(seen, "/one ") || strings.HasPrefix(seen, "/more ") {
			t.Errorf("%s is the other leader's", seen)
		}
	}
	if err := one.Up(); err != nil {
		t.Fatal(err)
	}
	if n := one.Requests(marathontest.KindEvents); n > 2 {
		t.Errorf("the first leader was asked %d times", n)
	}
}

// TestOldReleases follows a deployment in each release that differs.
func TestOldReleases(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.1.5", "1.3.13", "1.4.11", "1.5.1", "1.6.322", "1.7.50", "1.8.222", "1.9.100", "1.10.17", "1.11.24"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			quirks := marathontest.QuirksOf(version)
			if quirks.HeavyPlans > 0 {
				quirks.HeavyPlans = 2 << 20 // a line no small buffer takes
			}
			m := marathontest.Start(t, marathontest.Options{Version: version, Quirks: &quirks, Phantom: marathontest.PhantomTasks(), KillGrace: 5 * time.Millisecond})
			_, sink, _ := watch(t, fastConfig(m.URL()))
			if err := m.Apply(`{"id":"/host","instances":2,"healthChecks":[{"protocol":"HTTP"}],"portDefinitions":[{}],"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"host.test"}}`); err != nil {
				t.Fatal(err)
			}
			if err := m.Apply(`{"id":"/bridge","networks":[{"mode":"container/bridge"}],"container":{"portMappings":[{"containerPort":80}]},"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"bridge.test"}}`); err != nil {
				t.Fatal(err)
			}
			if err := m.Apply(`{"id":"/ip","networks":[{"mode":"container","name":"dcos"}],"container":{"portMappings":[{"containerPort":8080}]},"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"ip.test"}}`); err != nil {
				t.Fatal(err)
			}
			idle(t, m)
			sink.await(t, "deployed", func(s string) bool {
				return strings.Count(s, "/healthy") == 4 && strings.Contains(s, "[host.test]") && strings.Contains(s, "[bridge.test]") && strings.Contains(s, ":8080/healthy")
			})
			if err := m.LoseAgent(m.Tasks("/bridge")[0].ID); err != nil {
				t.Fatal(err)
			}
			if quirks.TaskLost {
				sink.await(t, "lost and replaced", func(s string) bool {
					return strings.Count(s, "/healthy") == 4 && strings.Contains(s, m.Tasks("/bridge")[0].ID+"@")
				})
			} else {
				sink.await(t, "unreachable", contains("/degraded"))
			}
			if err := m.DeleteApp("/host"); err != nil {
				t.Fatal(err)
			}
			sink.await(t, "deleted", lacks("/host "))
			idle(t, m)
		})
	}
}
