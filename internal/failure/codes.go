package failure

// The codes that Envoy's configuration treats in a way of their own.
const (
	// NoSuchPath is of a domain that is known, and a path that is not.
	NoSuchPath = "no-such-path"
	// NoSuchDomain is of hosts for which there is no route.
	NoSuchDomain = "no-such-domain"
	// NotAllowed is of clients that an app does not let in.
	NotAllowed = "forbidden"
	// TimedOut has a status of its own by gRPC.
	TimedOut = "timed-out"
	// Asleep is of apps that nobody used for long, which were stopped until somebody does.
	Asleep = "asleep"
	// Starting is of apps that are not there yet, and will be.
	Starting = "starting"
	// Offline is of apps that nobody runs.
	Offline = "offline"
	// Crashed is of apps whose tasks fail. Envoy tells it from "offline" by the route.
	Crashed = "crashed"
	// Busy is of apps that have as much to do as they may have at once.
	Busy = "busy"
	// Maintenance is of apps that take no requests for now, as who runs them said.
	Maintenance = "maintenance"
	// Other is of answers that no other code fits.
	Other = "other"
)

// Statuses by which routes, and filters of routes, refuse a request.
const (
	BadRequest  = 400
	Forbidden   = 403
	Misdirected = 421
)

// Statuses by which routes and Relay's own services refuse a request, for codes that no status
// stands for. Visitors see that of the code. Nothing else has them: they are not assigned
// (https://www.iana.org/assignments/http-status-codes). The text of an answer with StatusAsleep or
// StatusStarting is what the page says; it must be plain text without <, >, & and quotes.
const (
	StatusAsleep      = 520
	StatusStarting    = 521
	StatusCrashed     = 522
	StatusBusy        = 523
	StatusMaintenance = 524
)

// StatusTooLarge is that of requests whose body is larger than an app takes, and StatusTooMany of those that
// are more than it takes.
const (
	StatusTooLarge = 413
	StatusTooMany  = 429
)

// The order counts: what Envoy found wrong with a request comes before what it made of it, and a
// request that was retried has the flag of its last failure, too.
var codes = []Code{
	{
		Name: "too-large", By: []uint32{431}, Status: 431, Client: true,
		Text:  "The head of the request is too large: mostly there are too many cookies.",
		Cause: "The head of a request has more than 60 kB, or more than 1000 lines.",
		Look:  "The cookies that the domain, and the domains above it, set in the client.",
		Do:    "Have the app keep less in cookies. The visitor can delete those of the domain.",
	},
	{
		Name: "too-slow", By: []uint32{408}, Status: 408, Client: true,
		Text:  "The request did not come in completely in time. Please try again.",
		Cause: "The client did not send the head of its request in time (`request-headers-timeout`), or stopped in the middle of the body.",
		Look:  "The client's network. Many of them from a few addresses are an attack that wants to take all connections.",
		Do:    "Nothing, if they are few.",
	},
	{
		Name: "bad-request", Flags: []string{"DPE"}, By: []uint32{400}, Status: 400, Client: true,
		Text:  "The address or the request is not valid.",
		Cause: "The request is not HTTP as it is defined, or the path climbs (`/../`) or has bytes beyond ASCII where a domain is divided by path.",
		Look:  "What sent it: mostly a scanner, a client by HTTPS on the port of HTTP, or a library that does not encode a path.",
		Do:    "Correct the client.",
	},
	{
		Name: "unauthorized", By: []uint32{401}, Status: 401, Client: true,
		Text:  "This application asks for a user name and a password.",
		Cause: "The app asks for a password (`HAPROXY_0_AUTH`), and the request had none, or a wrong one. Browsers ask their user then.",
		Look:  "Whether many come from one address: somebody may be guessing. Whether the hash changed (`docs/passwords.md`).",
		Do:    "Nothing, or give the user the password.",
	},
	{
		Name: NotAllowed, By: []uint32{Forbidden}, Status: Forbidden, Client: true,
		Text:  "Access to this application is restricted.",
		Cause: "The client's address is in none of the networks that the app lets in, or a label that restricts the app is mistyped, or names what is not there, and so it lets in nobody. Also a request that wants to change to another protocol than WebSocket.",
		Look:  "The client's address in the failure; the app's problems.",
		Do:    "Correct the label of the app. If the address is that of a balancer, tell Relay of it (`trusted-proxies`).",
	},
	{
		Name: "body-too-large", By: []uint32{StatusTooLarge}, Status: StatusTooLarge, Client: true,
		Text:  "The request is larger than this application takes.",
		Cause: "The body of the request is larger than the app allows (`RELAY_0_MAX_REQUEST_BODY`), or than Envoy holds of one whose length the client did not say.",
		Look:  "What the client sends: mostly a file that somebody wants to upload.",
		Do:    "Raise the limit in the label, or have the client send less, or say the length of the body (`Content-Length`).",
	},
	{
		Name: "too-many-requests", By: []uint32{StatusTooMany}, Status: StatusTooMany, Client: true,
		Text:  "There are too many requests. Please try again in a moment.",
		Cause: "The app, or this client, has had as many requests as its labels allow (`RELAY_0_RATE_LIMIT`, `RELAY_0_RATE_LIMIT_PER_CLIENT`). `Retry-After` says when to come again.",
		Look:  "Whether they come from a few addresses. The Envoys count them in `rate_limits.http_local_rate_limit`.",
		Do:    "Nothing, or raise the limit in the label.",
	},
	{
		Name: "misdirected", By: []uint32{Misdirected}, Status: Misdirected, Client: true,
		Text:  "This connection is for another address. Please try again.",
		Cause: "A browser used the connection of another domain, whose certificate has this domain too, though the TLS of this one is passed through to its app.",
		Look:  "Nothing: browsers send the request again by a connection of its own, and the visitor sees nothing.",
		Do:    "If clients fail by it, give the domains certificates of their own.",
	},
	{
		Name: NoSuchPath, Flags: []string{"NR"}, Status: 404, Client: true,
		Text:  "There is no application at this path.",
		Cause: "Apps have some paths of this domain, and none has this one.",
		Look:  "`relay explain` with the domain: it lists the paths.",
		Do:    "If it is to be served, give an app the path (`HAPROXY_0_PATH`), or the whole domain.",
	},
	{
		Name: NoSuchDomain, Flags: []string{"NR"}, By: []uint32{404}, Status: 404, Client: true,
		Text:  "There is no application at this address.",
		Cause: "No app of this fleet has the domain. Host names are made up by clients, so there are always some.",
		Look:  "`relay explain` with the domain: it says which app wants it in vain, and which domain is like it.",
		Do:    "Correct the label of the app, or the name in the DNS.",
	},
	{
		Name: Maintenance, By: []uint32{StatusMaintenance}, Status: 503, Meant: true,
		Text:  "The application is being worked on. Please try again later.",
		Cause: "The app has the label `RELAY_MAINTENANCE`: all its requests are answered so, while its instances go on.",
		Look:  "Whether whoever works on the app is done.",
		Do:    "Remove the label when they are.",
	},
	{
		Name: Asleep, By: []uint32{StatusAsleep}, Status: 503, Meant: true, Said: StatusAsleep,
		Text:  "The application is asleep.",
		Cause: "Nobody used the app for as long as `RELAY_IDLE_AFTER` says, so it was stopped. This request is one of a client that wakes nothing (`idle-ignore`), or of a browser that is shown how far the app is (`RELAY_WAKE_PAGE`).",
		Look:  "Nothing. `relay explain` with the domain says since when it sleeps, and what would wake it.",
		Do:    "Nothing.",
	},
	{
		Name: Starting, Flags: []string{"NC", "NFCF"}, By: []uint32{StatusStarting}, Status: 503, Said: StatusStarting,
		Text:  "The application is being set up. Please try again in a moment.",
		Cause: "This Envoy has the route and not what it leads to yet: it has just started, or loads clusters on demand and Relay does not answer. Or the app was asleep and does not serve yet, though the request waited for `RELAY_WAKE_TIMEOUT`, or as many wait as may (`wake-waiting`).",
		Look:  "Whether Envoy is connected and up to date, on the status page. For an app that was asleep, how long it takes to start, and whether its tasks get healthy.",
		Do:    "Nothing, if it ends by itself. Else see why Envoy cannot reach Relay, what it rejected, or why the app takes so long.",
	},
	{
		Name: Crashed, By: []uint32{StatusCrashed}, Status: 503,
		Text:  "The application does not start: it has crashed.",
		Cause: "The app shall run and no instance may get requests: its tasks fail. A request by which it was to wake is told so, too.",
		Look:  "The app in Relay: what Marathon says of the last task that failed. The log of that task.",
		Do:    "Correct what the tasks fail with, and deploy the app again.",
	},
	{
		Name: Offline, Flags: []string{"UH"}, Status: 503,
		Text:  "The application is offline: none of its instances is running.",
		Cause: "The app has no instance that may get requests: it is scaled to 0, its tasks have not started, or fail their health checks.",
		Look:  "The app in Marathon: its tasks, and why they are not healthy. `relay explain` with the domain says what Relay knows of each.",
		Do:    "Scale the app up, or correct what its tasks fail with.",
	},
	{
		Name: Busy, Flags: []string{"UO"}, By: []uint32{StatusBusy}, Status: 503,
		Text:  "The application has too much to do. Please try again in a moment.",
		Cause: "The app has as many requests or connections as its labels allow. If it has a queue (`RELAY_0_QUEUE`), that is full, or the request waited in it for too long.",
		Look:  "How long the app takes for a request; its limits.",
		Do:    "Add instances, or raise the limits in the labels.",
	},
	{
		Name: TimedOut, Flags: []string{"UT"}, CutOff: []string{"UT"}, Status: 504,
		Text:  "The application took too long to answer.",
		Cause: "The app did not answer within the time that its labels allow.",
		Look:  "The instance in the failure, and how long it takes for such a request.",
		Do:    "Make the app faster, or allow it more time.",
	},
	{
		Name: "idle", Flags: []string{"SI"}, CutOff: []string{"SI"}, Status: 504,
		Text:  "Nothing happened on this request for too long.",
		Cause: "No byte came or went for as long as the idle timeout allows (`stream-idle-timeout`, or a label of the app). WebSockets on which nothing is said end so.",
		Look:  "Whether the app, or its clients, send something now and then.",
		Do:    "Have them send pings, or allow more time.",
	},
	{
		Name: "unreachable", Flags: []string{"UF"}, Status: 502,
		Text:  "The application does not accept connections.",
		Cause: "Envoy could not connect to the instances that it tried: they refuse connections, or the machine does not answer, or TLS to the app failed.",
		Look:  "The instance and the reason in the failure. Whether the task listens on the port that Marathon gave it.",
		Do:    "Correct the port or the address that the app listens on; give it a health check, so that such tasks get no requests.",
	},
	{
		Name: "interrupted", Flags: []string{"UC", "UR", "LR"}, CutOff: []string{"UC", "UR", "LR", "UPE"}, Status: 502,
		Text:  "The application closed the connection before it answered.",
		Cause: "The app closed the connection before the answer was complete. If the answer had begun, the visitor sees the status of the app and a part of the answer.",
		Look:  "Whether the task crashed or was stopped at that moment; its log.",
		Do:    "Have the app finish its requests before it stops.",
	},
	{
		Name: "bad-answer", Flags: []string{"UPE"}, Status: 502,
		Text:  "The application sent an answer that is not HTTP.",
		Cause: "What the app sent is not HTTP as it is defined, or its head is too large. An app that speaks TLS or HTTP/2 and does not say so in a label does this, too.",
		Look:  "The answer of the instance itself: `curl -v` to its address.",
		Do:    "Correct the app, or say in its labels what it speaks.",
	},
	{
		Name: "overloaded", By: []uint32{503}, Status: 503,
		Text:  "The service has too much to do. Please try again in a moment.",
		Cause: "Envoy itself is short of memory (`relay bootstrap --max-heap`) and takes no more requests. Or the app asks for a password that Relay checks, and no Relay answers Envoy, or too many passwords are to be checked.",
		Look:  "The memory of Envoy and of its machine; how many connections it has. For an app with a password: whether a Relay runs, and `relay_password_checks_total`.",
		Do:    "Give Envoy more memory, or add Envoys. Run two Relays, as one of them is enough.",
	},
	{
		Name:  Other,
		Text:  "The request could not be served.",
		Cause: "Envoy answered itself, for a reason that no other code fits. With 504 it is mostly an app that did not begin to answer within `RELAY_0_MAX_STREAM_DURATION`.",
		Look:  "The status in the failure, the labels of the app, and the log of Envoy.",
		Do:    "Allow the app more time. If that is not it, please report it: there should be a code for it.",
	},
}
