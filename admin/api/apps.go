package api

import "time"

// Apps is the answer of /api/v1/apps.
type Apps struct {
	Apps []App `json:"apps"`
	Page
}

// App is an app as it is routed.
type App struct {
	ID string `json:"id"`
	// Version is that of its definition, as its source has it.
	Version string `json:"version"`
	Ports   []Port `json:"ports"`
	// Deployment is the deployment group that the app is part of; absent if it is of none.
	Deployment string `json:"deployment,omitempty"`
	// Stopped tells that people scaled the app to 0.
	Stopped bool `json:"stopped,omitempty"`
	// Maintenance tells that all requests are answered by a page that says so.
	Maintenance bool `json:"maintenance,omitempty"`
	// Owner is who is told when the app fails (RELAY_OWNER).
	Owner string `json:"owner,omitempty"`
	// Scaling is what Relay does with the number of instances; without Events in lists.
	Scaling *Scaling `json:"scaling,omitempty"`
	// Load is that of all ports.
	Load *Load `json:"load,omitempty"`
	// Failures are those of the last hour; absent where none are taken in.
	Failures *int `json:"failures,omitempty"`
	// Changed is when the last change of it was published; absent if none is known.
	Changed time.Time `json:"changed,omitzero"`
	// ProblemCount counts its problems, Severity is that of the worst: "failing", "ignored" or
	// "advice".
	ProblemCount int    `json:"problemCount"`
	Severity     string `json:"severity,omitempty"`
}

// Port is a port of an app.
type Port struct {
	Index int    `json:"index"`
	Name  string `json:"name,omitempty"`
	// Fleets are those that route the port.
	Fleets []string `json:"groups,omitempty"`
	// OtherGroups are the first few of its groups that are no fleet of this Relay.
	OtherGroups []string   `json:"otherGroups,omitempty"`
	Domains     []string   `json:"domains,omitempty"`
	Endpoints   []Endpoint `json:"endpoints,omitempty"`
	Excluded    []Excluded `json:"excluded,omitempty"`
	// Cluster is its name in Envoy; absent if no fleet routes the port.
	Cluster string `json:"cluster,omitempty"`
	// Probe says how the port is asked from outside (RELAY_n_PROBE).
	Probe string `json:"probe,omitempty"`
	Load  *Load  `json:"load,omitempty"`
	// TCP is what the app asks for as a TCP service; absent if the port is none.
	TCP *TCP `json:"tcp,omitempty"`
	// Rebalance is what goes on with the connections of a TCP service, if it asks for that (RELAY_n_REBALANCE).
	Rebalance *Rebalance `json:"rebalance,omitempty"`
	// Waiting are the new connections of a TCP service that wait for their turn (RELAY_n_ACCEPT_RATE); absent if
	// none waits at this Relay.
	Waiting *WaitingConnections `json:"waitingConnections,omitempty"`
}

// TCP is what Envoys do with the connections of a TCP service.
type TCP struct {
	// Text says all of it in a line.
	Text string `json:"text"`
	// Port is what Envoys listen on; absent if the app asks for none.
	Port uint16 `json:"port,omitempty"`
	// Passthrough tells that TLS connections for the domains are passed on as they are.
	Passthrough bool `json:"passthrough,omitempty"`
	// TLS is absent if TLS does not end at Envoys.
	TLS *ServiceTLS `json:"tls,omitempty"`
	// AcceptRate is how many new connections a second each instance takes, AddressRate how many one address of
	// a client may open; absent without a limit.
	AcceptRate  float64 `json:"acceptRate,omitempty"`
	AddressRate float64 `json:"addressRate,omitempty"`
	// Hold is how long new connections wait while there is no instance, in seconds; absent if they do not.
	Hold float64 `json:"hold,omitempty"`
	// MaxConnectionAge is how long connections last, in seconds; absent if without end.
	MaxConnectionAge float64 `json:"maxConnectionAge,omitempty"`
	// RebalancePercent is how many percent of the connections may end a minute, to even them out.
	RebalancePercent float64 `json:"rebalancePercent,omitempty"`
}

// ServiceTLS is how Envoys meet the clients of a TCP service whose TLS they end.
type ServiceTLS struct {
	// Profile is "modern", "intermediate" or "old".
	Profile string `json:"profile"`
	// Authority is that of the certificates of clients; absent if they are asked for none.
	Authority string `json:"authority,omitempty"`
	// Optional tells that clients without a certificate are let in too.
	Optional bool `json:"optional,omitempty"`
	// ClientNames are the first few names of which a certificate must have one, such as "dns:*"; absent if any
	// will do. MoreClientNames is how many more there are.
	ClientNames     []string `json:"clientNames,omitempty"`
	MoreClientNames int      `json:"moreClientNames,omitempty"`
	// Closed says why nobody is let in; absent if somebody may be.
	Closed string `json:"closed,omitempty"`
}

// WaitingConnections are new connections to a port that wait for their turn.
type WaitingConnections struct {
	Connections int `json:"connections"`
	// PerSecond is how many go on a second: the rate of all instances that take new connections.
	PerSecond float64 `json:"perSecond"`
	// Left is after how many seconds the last one has its turn, and Longest for how many the first one has waited.
	Left    float64 `json:"left"`
	Longest float64 `json:"longest"`
}

// The phases of Rebalance that are more than usual.
const (
	RebalanceEven, RebalanceUnknown, RebalancePaused = "even", "unknown", "paused"
)

// Rebalance is how the connections of a port are evened out among its instances.
type Rebalance struct {
	// Phase is "even", "waiting" (uneven since a moment), "ending" (connections end), "paused" (that was in
	// vain) or "unknown".
	Phase string `json:"phase"`
	// Text says why, and how many connections instances have.
	Text string `json:"text"`
	// Since is when it became uneven; absent if it is even, or not known.
	Since time.Time `json:"since,omitzero"`
	// Ended is how many connections have ended since.
	Ended int `json:"ended,omitempty"`
}

// Endpoint is a task in rotation.
type Endpoint struct {
	Address string `json:"address"`
	// Health is "healthy", "degraded" or "draining".
	Health string `json:"health"`
	Task   string `json:"task,omitempty"`
	// Version is that of the definition of its task, if the app has a newer one.
	Version string `json:"version,omitempty"`
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	// Unreachable says why Envoys could not connect to it lately.
	Unreachable string `json:"unreachable,omitempty"`
	// Load is absent until Envoys have told of instances, which they do within half a minute after
	// somebody asked.
	Load *Load `json:"load,omitempty"`
}

// Excluded is a task that gets no requests, and why.
type Excluded struct {
	Task   string `json:"task"`
	Reason string `json:"reason"`
}

// AppStory is the answer of /api/v1/apps/{id}: an app from its labels to the answers of Envoys.
type AppStory struct {
	App
	// Findings say how the app is, the worst first.
	Findings []Finding `json:"findings"`
	// Labels are those of its definition that are for Relay, known or not, secrets and what may
	// be one masked. They are absent where a file defines the app, and while it is served as
	// it was saved. MoreLabels is how many more there are than are shown.
	Labels     map[string]string `json:"labels,omitempty"`
	MoreLabels int               `json:"moreLabels,omitempty"`
	// InEnvoy is, of labels that Relay knows, the field or filter of Envoy by which it does what they ask for.
	InEnvoy map[string]string `json:"inEnvoy,omitempty"`
	// Resources are what was made of the app for the Envoys of each fleet, and MoreResources how many more
	// there are than are shown.
	Resources     []Resource `json:"resources,omitempty"`
	MoreResources int        `json:"moreResources,omitempty"`
	Problems      []Problem  `json:"problems,omitempty"`
	// Notes are what is not obvious about tasks.
	Notes []Note `json:"notes,omitempty"`
	// Envoys are all that need something of the app, and how far each is with it.
	Envoys []Progress `json:"envoys,omitempty"`
	// LastFailures and LastChanges are the newest first.
	LastFailures []Failure `json:"lastFailures,omitempty"`
	LastChanges  []Change  `json:"lastChanges,omitempty"`
}

// Resource is something that Envoys are offered for an app.
type Resource struct {
	Fleet string `json:"fleet"`
	Type  string `json:"type"`
	Name  string `json:"name"`
	// Outline says in short what Envoys do by it for the app: of each route the filters in order, and where
	// requests go. /api/v1/config-dump has all of it.
	Outline []string `json:"outline,omitempty"`
}

// Note is something to know about a task.
type Note struct {
	Task string `json:"task"`
	Text string `json:"text"`
}

// Progress is how far an Envoy is with what one app or domain needs in it.
type Progress struct {
	Fleet   string `json:"fleet"`
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	Address string `json:"address"`
	// Needs is how many resources it takes, Acknowledged how many of them the Envoy has.
	Needs        int       `json:"needs"`
	Acknowledged int       `json:"acknowledged"`
	Waiting      []Waiting `json:"waiting,omitempty"`
}

// Waiting is a resource that an Envoy has not acknowledged.
type Waiting struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	State string `json:"state"`
	// Error is what the Envoy said when it rejected it.
	Error string `json:"error,omitempty"`
}
