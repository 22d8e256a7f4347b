// Package scaling decides how many instances apps have: none while nobody uses them, some again
// when somebody comes, and more or fewer as there is more or less to do.
//
// A Stage stands between the source and what routes apps. It shows a Controller those apps that
// Relay may scale, and hands all on, some with a note that Envoys ask Relay before each request. The
// Controller decides by rules that are pure functions (next), and writes to the source.
package scaling

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/sources"
	"relay/traffic"
)

// Loads is what Envoys report of load. Its methods return at once.
type Loads interface {
	Use(fleet, cluster string) traffic.Use
	// Concurrency is how many requests are in progress on average of the last moments; known is false if
	// an Envoy of the fleet does not report.
	Concurrency(fleet, cluster string, over time.Duration) (average float64, known bool)
	// Watch has Envoys tell of each instance for half a minute, which Endpoints returns; nil if they do
	// not yet.
	Watch(fleet, cluster string)
	Endpoints(fleet, cluster string) map[netip.AddrPort]traffic.Load
	// Pace asks the Envoys of a fleet to report that often, while apps are sized by load; 0 is as usual.
	Pace(fleet string, every time.Duration)
}

// Fleets says which Envoys there are, and what they have. Its methods return at once.
type Fleets interface {
	// Serving are the fleets that route a port of some groups.
	Serving(groups []string) []string
	// Doubt says why it cannot be known for now whether apps of a fleet are used, or held requests
	// would not be: an Envoy does not report its load, has left within the last hour, or is too old.
	// It is empty if it can.
	Doubt(fleet string) string
	// Gated reports whether all Envoys of the fleets of an app, by its routed name, have acknowledged
	// that they ask before each request, as the app was last handed on, and if not, who has not.
	Gated(app string) (all bool, waiting string)
	// Drained reports the same of the endpoints of tasks that drain.
	Drained(app string, tasks []string) (all bool, waiting string)
}

// Report is what one Relay says of an app to others.
type Report struct {
	// Peer is who says it.
	Peer string
	// App is the routed name, and Phase what it is doing as far as the Relay knows.
	App, Phase string
	// Version is that of the newest definition of which the Relay knows.
	Version string
	// Against says why the app must not sleep; empty if nothing is known against it.
	Against string
	// Quiet is set if all Envoys of the Relay ask before each request to the app, and nothing was in
	// progress since they do. Stopping is set if it is putting the app to sleep at the source.
	Quiet, Stopping bool
	// Drained are tasks that take no new requests, at which the Envoys of the Relay have nothing in
	// progress any more.
	Drained []string
	// InProgress is how many requests are in progress at the Envoys of the Relay or wait in its queues,
	// and Known whether that is known.
	InProgress float64
	Known      bool
}

// Peers are the other Relays.
type Peers interface {
	// Reports asks all for their report of an app, which Controller.Report makes. The error says who
	// could not be asked; what the others said is returned all the same.
	Reports(ctx context.Context, app string) ([]Report, error)
	// Last are the reports of load that came by themselves in the last seconds, and whether there is
	// one of each peer. It returns at once.
	Last(app string) ([]Report, bool)
}

// Config is what a Controller is made of.
type Config struct {
	Loads  Loads
	Fleets Fleets
	// Peers may be nil: this Relay is the only one then.
	Peers  Peers
	Scaler sources.Scaler
	// Cluster is the name of the cluster of an app port, by the routed name of the app.
	Cluster func(app string, port int) string
	// Queued is how many requests to an app port wait in its queue at this Relay, which no Envoy reports.
	// It may be nil, returns at once, and must not call the Controller.
	Queued func(app string, port int) int
	Log    *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
}

// The bounds of what is done how often.
const (
	// DefaultWakeTimeout is how long a request waits where an app does not say.
	DefaultWakeTimeout = time.Minute
	// writers is how many changes are under way at the source at most.
	writers = 4
	// writeTimeout is how long the source may take for a change.
	writeTimeout = 30 * time.Second
	// firstRetry and lastRetry bound the time between two tries to change an app at the source.
	firstRetry, lastRetry = time.Second, 30 * time.Second
	// stillWanted is how long after a request an app is woken though it could not be at once.
	stillWanted = time.Minute
	// failedTasks is how many tasks fail before those who wait are told so, and failedPause how long
	// the next are told so at once.
	failedTasks, failedPause = 2, 30 * time.Second
	// staleRead is how long what was read may be older than what was written, if it is not known whether
	// it was, and staleWritten if it was.
	staleRead, staleWritten = 30 * time.Second, time.Hour
	// unsureMost is how long Envoys go on asking if another Relay knows another version of the app, or
	// stops it, and nothing new was read.
	unsureMost = 2 * time.Minute
	// fallTimeout is how long falling asleep may take.
	fallTimeout = 2 * time.Minute
	// fallPause is how long after a try to fall asleep that failed there is another at the earliest.
	fallPause = time.Minute
	// askAgain is how often peers are asked while they must be.
	askAgain = 2 * time.Second
	// doubtPause is when to look again if it is not known whether an app is used, or is; of apps that
	// sleep earlier than that it is as much earlier, down to minDoubtPause.
	doubtPause, minDoubtPause = 30 * time.Second, 2 * time.Second
)
