package e2e

import (
	"time"

	"relay/statuspage"
)

// found is how long it takes until somebody knows: so many probes, of which the last one may wait for its answer, and a time.
type found struct {
	probes int
	after  time.Duration
}

var byProbe = found{probes: 1}

// Intervals of probes by default, and in the tests; their timeout; how often the status page reads places and looks at what
// they said, and how many looks it takes; how often Envoys report their load.
const (
	probesEvery, probesEveryHere = 30 * time.Second, 30 * time.Second / quickerProbes
	probeTimeout                 = 10 * time.Second
	pageLooks                    = 10 * time.Second
	loadReports                  = 10 * time.Second
)

func (f found) within(interval time.Duration) time.Duration {
	if f.probes == 0 {
		return f.after
	}
	return time.Duration(f.probes)*interval + probeTimeout + f.after
}

// onPublicPage is when the status page says so: after two probes, and two looks at what a place said last.
var onPublicPage = found{probes: 2, after: 3 * pageLooks}

// shownOn is what the operators' page says, of what, and where.
type shownOn struct {
	path, words string
	of          string // what is before the words
	means       string // the words for the table, if those of the page say little without the rest
	found       found
}

// shownAlert is one that fires, and by what it is known.
type shownAlert struct {
	name  string
	of    string // the app, Envoy, fleet or the like in its labels
	found found
	// only says when it fires, if not always.
	only string
	// late is looked at in the end, so that nobody waits for it.
	late bool
}

// shownRow is a row of the table, and a test.
type shownRow struct {
	what   string
	breaks func(*shownWorld)
	page   []shownOn
	// public is how services are then, and publicly says so; the others are up.
	public   map[string]statuspage.State
	publicly string
	alerts   []shownAlert
}

// failing are the alerts of an app to which all requests fail.
func failing(app string, more ...shownAlert) []shownAlert {
	return append([]shownAlert{
		{name: "RelayAppProbeFails", of: app, found: byProbe},
		{name: "RelayAppErrorsFast", of: app, found: found{after: 52*time.Second + loadReports}, only: "if it has requests"},
	}, more...)
}

var (
	unreachable = shownAlert{name: "RelayInstanceUnreachable", found: found{probes: 2}}
	costing     = shownAlert{name: "RelayProblemsFailing", found: found{probes: 2}}
)

const connects = "Envoys could not connect to it"

// nothingShows are the rows of what is no trouble.
var nothingShows = []shownRow{
	{
		what: "a deployment",
		breaks: func(s *shownWorld) {
			for _, id := range []string{"/deployed", "/replaced"} {
				if err := s.marathon.Restart(id); err != nil {
					s.t.Fatal(err)
				}
			}
		},
		page: []shownOn{{path: "/changes", of: "/deployed", words: "+127.0.0.1", means: "instances that came and went"}},
	},
	{
		what: "an app is scaled down, or to 0",
		breaks: func(s *shownWorld) {
			s.marathon.deploy(app("/off", "", 0, owned("off", "/")...), app("/scaled", "", 1, owned("scaled", "/")...))
		},
		page: []shownOn{{path: "/probes", of: "off.test", words: "the app is scaled to 0", found: found{after: 20 * time.Second}}},
	},
	{
		what:   "an app falls asleep",
		breaks: func(s *shownWorld) { s.phase("/sleepy", "asleep") },
		page:   []shownOn{{path: "/probes", of: "sleepy.test", words: "the app sleeps", found: byProbe}},
	},
}

// appsFail are the rows of what fails in apps, and of what is away while they do.
var appsFail = []shownRow{
	{
		what:   "an app stops",
		breaks: func(s *shownWorld) { s.stopped.CloseClientConnections(); s.stopped.Close() },
		page: []shownOn{
			{path: "/probes", of: "stopped.test", words: "the Envoy answers unreachable (502)", found: byProbe},
			{path: "/problems", of: "stopped", words: connects, found: found{probes: 2}},
		},
		public: map[string]statuspage.State{"stopped": statuspage.Down}, publicly: "its service is down",
		alerts: failing("/stopped", unreachable, costing),
	},
	{
		what: "an app crashes again and again",
		breaks: func(s *shownWorld) {
			s.marathon.SetCrashLoop("/crashing", 10*time.Millisecond)
			if err := s.marathon.Crash(s.marathon.Tasks("/crashing")[0].ID); err != nil {
				s.t.Fatal(err)
			}
		},
		page: []shownOn{
			{path: "/probes", of: "crashing.test", words: "the Envoy answers crashed (503)", found: byProbe},
			{path: "/apps/crashing", words: "has ended: TASK_FAILED"},
		},
		public: map[string]statuspage.State{"crashing": statuspage.Down}, publicly: "its service is down",
		alerts: failing("/crashing", shownAlert{name: "RelayPortWithoutTask", found: found{after: time.Minute}, late: true}),
	},
	{
		what:   "an app gets slow",
		breaks: func(s *shownWorld) { s.slow.slow.Store(true) },
		page:   []shownOn{{path: "/probes", of: "slow.test", words: "should take 2s at most", means: "how long it took, and should take at most", found: byProbe}},
		public: map[string]statuspage.State{"slow": statuspage.Degraded}, publicly: "its service is degraded",
		alerts: []shownAlert{{name: "RelayAppProbeFails", of: "/slow", found: byProbe}},
	},
	{
		what:   "the network of an agent machine is cut",
		breaks: func(s *shownWorld) { s.machine.blackHole() },
		page: []shownOn{
			{path: "/probes", of: "lost.test", words: "the Envoy answers unreachable (502)", found: byProbe},
			{path: "/problems", of: "lost", words: connects, found: found{probes: 2}},
		},
		public:   map[string]statuspage.State{"lost": statuspage.Down, "half": statuspage.Degraded},
		publicly: "services with all instances there are down, those with others too are degraded if they have `slow`",
		alerts:   failing("/lost", unreachable, costing),
	},
	{
		what:   "Vault stops",
		breaks: func(s *shownWorld) { s.vault.Stop() },
		page:   []shownOn{{path: "/", words: "Certificates cannot be read from vault", found: found{after: 72 * time.Second}}},
		alerts: []shownAlert{{name: "RelayCertificatesNotRead", of: "vault"}},
	},
	{
		what:   "Marathon stops",
		breaks: func(s *shownWorld) { s.marathon.away(); s.marathon.CutStreams() },
		page:   []shownOn{{path: "/", words: "Apps cannot be read from marathon"}},
		alerts: []shownAlert{{name: "RelayMarathonLost"}},
	},
}

// edgesFail are the rows of Envoys, one after the other, and of a certificate for which it takes as long.
var (
	anEnvoyStops = shownRow{
		what:   "an Envoy stops",
		breaks: func(s *shownWorld) { s.second.Kill() },
		page: []shownOn{
			{path: "/envoys", of: "edge-2", words: "disconnected"},
			{path: "/probes", of: "edge-2", words: "connect: the connection was refused", found: byProbe},
		},
		public: everyService(statuspage.Degraded), publicly: "all services of the fleet are degraded if it was one of two",
		alerts: []shownAlert{{name: "RelayEdgeDown", of: "edge-2", found: byProbe}},
	}
	aCertificateIsNotRenewed = shownRow{
		what:   "a certificate is not renewed",
		breaks: func(*shownWorld) {},
		page: []shownOn{
			{path: "/", words: "1 certificate in use expires in less than 21 days"},
			{path: "/certificates", of: "old.test", words: "13 days", means: "how many days are left"},
		},
		alerts: []shownAlert{{name: "RelayCertificateNotRenewed", of: "old.test", only: "from 15 days on"}},
	}
	allEnvoysStop = shownRow{
		what:   "all Envoys of a fleet stop",
		breaks: func(s *shownWorld) { s.envoy.Kill() },
		page: []shownOn{
			{path: "/", words: "Fleet external: no Envoy is connected any more", means: "“no Envoy is connected any more”"},
			{path: "/probes", of: "edge-1", words: "connect: the connection was refused", found: byProbe},
		},
		public: everyService(statuspage.Down), publicly: "all services of the fleet are down",
		alerts: []shownAlert{
			{name: "RelayFleetDown", of: "external", found: byProbe},
			{name: "RelayNoEnvoys", of: "external"},
		},
	}
	relayStops = shownRow{
		what:   "Relay stops",
		breaks: func(s *shownWorld) { s.relay.stop() },
		alerts: []shownAlert{{name: "RelayDown"}, {name: "RelayProbesStopped", found: found{after: 15 * time.Second}, only: "of other places, if no Relay is left"}},
	}
)

// everyService is how all services are that are asked at the end.
func everyService(state statuspage.State) map[string]statuspage.State {
	return map[string]statuspage.State{"deployed": state, "replaced": state, "scaled": state, "old": state, "other": state}
}

// shownRows are all rows, as the table has them.
func shownRows() (all []shownRow) {
	all = append(all, anEnvoyStops, allEnvoysStop)
	all = append(all, appsFail...)
	all = append(all, aCertificateIsNotRenewed, relayStops)
	return append(all, nothingShows...)
}
