package marathon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/internal/secret"
	"relay/sources/labels/traefik"
)

// ContainerAddress says where a task on a container network is reached when
// its port mapping has a host port as well.
type ContainerAddress string

const (
	// ContainerAuto uses the container's own address when it has one, and the
	// agent's host port otherwise. The default.
	ContainerAuto ContainerAddress = "auto"
	// ContainerIP uses the container's own address only.
	ContainerIP ContainerAddress = "ip"
	// ContainerHost uses the agent's host port, as Marathon's checks do.
	ContainerHost ContainerAddress = "host"
)

// Unreachable says what becomes of tasks whose agent was lost: they may well
// go on serving.
type Unreachable string

const (
	// UnreachableDegraded gives them requests when too few others are left, if
	// they were in rotation before. The default.
	UnreachableDegraded Unreachable = "degraded"
	// UnreachableKeep sends requests to those that were in rotation before.
	UnreachableKeep Unreachable = "keep"
	// UnreachableDrop sends them no requests.
	UnreachableDrop Unreachable = "drop"
)

// Config says where Marathon is and how it is watched. Zero values take the
// defaults given.
type Config struct {
	// Traefik says how labels of Traefik are read, beside those of marathon-lb; nil if they are not.
	Traefik *traefik.Options

	// URLs are the base URLs of the Marathon masters, such as
	// "https://user:password@marathon-1:8443". A path is kept
	// ("https://master/service/marathon"). Userinfo is sent as basic
	// authentication and never shown.
	URLs []string
	// TrustedHosts are further hosts, "name" or "name:port", that may be sent
	// the credentials when a standby redirects to them: the leaders'
	// advertised names where those differ from the URLs.
	TrustedHosts []string

	// User and the password in PasswordFile are sent as basic authentication to the URLs
	// that have no userinfo.
	User, PasswordFile string
	// TokenFile holds a token of DC/OS, sent as "Authorization: token=<token>".
	TokenFile string
	// ServiceAccountFile holds the secret of a DC/OS service account, as JSON
	// with uid, private_key, login_endpoint and scheme: the token is fetched,
	// and renewed before it ends or when it is refused.
	ServiceAccountFile string
	// Write, if set, is how a Scaler logs in, in place of all the above.
	Write Credentials

	// CAFile is a PEM file of the authorities trusted for https URLs; the
	// system's by default.
	CAFile string
	// ClientCertFile and ClientKeyFile are the PEM files of the certificate
	// shown to Marathon.
	ClientCertFile, ClientKeyFile string
	// InsecureSkipTLSVerify accepts any certificate. Then whoever is between Relay and
	// Marathon can read the credentials and answer in Marathon's place.
	InsecureSkipTLSVerify bool

	// SyncInterval is the time between full reads, spread by ±20 % (5 min).
	SyncInterval time.Duration
	// IdleTimeout is the time without a byte after which the event stream, or an answer,
	// is given up (30 s: three of Marathon's heartbeats).
	IdleTimeout time.Duration
	// AttachTimeout bounds the time from the connection attempt to the first event (15 s).
	AttachTimeout time.Duration
	// HeaderTimeout bounds the time until the header of an answer has come (60 s).
	HeaderTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait between two connections (0.2 s, 30 s).
	// After one that lasted BackoffReset (60 s) the wait is BackoffMin again.
	BackoffMin, BackoffMax, BackoffReset time.Duration
	// ConfirmDelay is the time between a suspicious full read and the one that
	// has to confirm it (5 s).
	ConfirmDelay time.Duration
	// RereadDelay is the time after which an app is read once more when the
	// read that a change event caused showed no change (1.5 s).
	RereadDelay time.Duration

	// FullReadThreshold is the number of changed apps above which one full read
	// replaces the single ones (200).
	FullReadThreshold int
	// MaxReads is the number of single reads at the same time (8).
	MaxReads int
	// MaxEventBytes is the size of an event above which the stream is dropped (64 MiB).
	MaxEventBytes int

	// ContainerAddress chooses the address on container networks (ContainerAuto).
	ContainerAddress ContainerAddress
	// ContainerNetworks, when given, are the only networks whose addresses are used for
	// tasks on container networks.
	ContainerNetworks []netip.Prefix
	// PreferIPv6 prefers IPv6 where a task or an agent has both families.
	PreferIPv6 bool
	// Unreachable chooses what becomes of tasks on lost agents (UnreachableDegraded).
	Unreachable Unreachable
	// Pods routes pods as well as apps, each endpoint as a port.
	Pods bool
	// LookupHost resolves agent names; nil asks the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)

	// OnFullRead, when set, is called at the beginning of each full read. What it returns is
	// called with each app, as Marathon wrote it: also with what has no effect on Relay, and
	// with secrets in labels.
	OnFullRead func() (each func(app []byte))
	// OnEvent, when set, is called with the type of every event before the event takes
	// effect, on the goroutine that reads events. It is for tests.
	OnEvent func(eventType string)
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.SyncInterval, 5 * time.Minute},
		{&c.IdleTimeout, 30 * time.Second},
		{&c.AttachTimeout, 15 * time.Second},
		{&c.HeaderTimeout, 60 * time.Second},
		{&c.BackoffMin, 200 * time.Millisecond},
		{&c.BackoffMax, 30 * time.Second},
		{&c.BackoffReset, 60 * time.Second},
		{&c.ConfirmDelay, 5 * time.Second},
		{&c.RereadDelay, 1500 * time.Millisecond},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&c.FullReadThreshold, 200}, {&c.MaxReads, 8}, {&c.MaxEventBytes, 64 << 20}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	c.BackoffMax = max(c.BackoffMax, c.BackoffMin)
	if c.ContainerAddress == "" {
		c.ContainerAddress = ContainerAuto
	}
	if c.Unreachable == "" {
		c.Unreachable = UnreachableDegraded
	}
	return c
}

func (c Config) validate() error {
	switch c.ContainerAddress {
	case ContainerAuto, ContainerIP, ContainerHost:
	default:
		return fmt.Errorf("marathon: container address %q: use auto, ip or host", c.ContainerAddress)
	}
	switch c.Unreachable {
	case UnreachableDegraded, UnreachableKeep, UnreachableDrop:
	default:
		return fmt.Errorf("marathon: unreachable tasks %q: use degraded, keep or drop", c.Unreachable)
	}
	return nil
}

// server is one base URL without the userinfo, so that it can be shown, and the way to
// log in to it.
type server struct {
	url   *url.URL
	login login // nil for none
}

// String shows the URL alone.
func (s server) String() string { return s.url.String() }

// GoString hides the login from %#v.
func (s server) GoString() string { return s.String() }

// parseServers reads base URLs; common is the login of those without userinfo.
// Its errors never repeat a URL, which may hold a password.
func parseServers(urls []string, common login) ([]server, error) {
	if len(urls) == 0 {
		return nil, errors.New("marathon: no URL given: at least one Marathon base URL is needed")
	}
	servers := make([]server, 0, len(urls))
	for i, raw := range urls {
		raw = strings.TrimSpace(raw)
		if strings.ContainsAny(raw, " \t\r\n") {
			return nil, fmt.Errorf("marathon: URL number %d has a space in it: write a comma between URLs, as in --marathon http://one:8080,http://two:8080", i+1)
		}
		if !strings.Contains(raw, "://") {
			return nil, fmt.Errorf("marathon: URL number %d has no scheme: write --marathon http://%s, or https:// if it takes TLS", i+1, shownHost(raw))
		}
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("marathon: URL number %d cannot be parsed: write it as --marathon http://host:8080, with a comma between several", i+1)
		}
		if u.Scheme == "zk" {
			return nil, fmt.Errorf("marathon: URL number %d is that of ZooKeeper: write Marathon's own address, as --marathon http://host:8080", i+1)
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			return nil, fmt.Errorf("marathon: URL number %d is not an http or https URL with a host: write it as --marathon http://host:8080", i+1)
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("marathon: URL number %d (host %s) has a query or a fragment: give the base URL alone", i+1, u.Host)
		}
		if err := checkURLPath(u, i+1); err != nil {
			return nil, err
		}
		s := server{url: &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, login: common}
		if u.User != nil {
			password, _ := u.User.Password()
			s.login = basicLogin{u.User.Username(), secret.String(password)}
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// checkURLPath refuses the path of Marathon's API or its pages: Relay adds /v2 itself. A proxy
// may have any other.
func checkURLPath(u *url.URL, number int) error {
	segments := strings.Split(u.Path, "/")
	at := slices.IndexFunc(segments, func(s string) bool { return s == "v2" || s == "ui" || s == "ping" })
	if at < 0 {
		return nil
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.Join(segments[:at], "/")}
	return fmt.Errorf("marathon: URL number %d has a path of Marathon's API or pages, /%s: write --marathon %s", number, segments[at], &base)
}

// shownHost is what a text without a scheme has as host, without what may be a password.
func shownHost(text string) string {
	host, _, _ := strings.Cut(text[strings.LastIndex(text, "@")+1:], "/")
	name, port, _ := strings.Cut(host, ":")
	if _, err := strconv.ParseUint(cmp.Or(port, "0"), 10, 16); err != nil || name == "" || host != text {
		return "host:8080"
	}
	return host
}

// hostPort returns the host and port a URL leads to, comparable between URLs.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
		if port == "" {
			port = "80"
		}
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}
