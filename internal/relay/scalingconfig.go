package relay

import (
	"errors"
	"fmt"
	"net/url"

	"relay/internal/ignored"
	"relay/sources/marathon"
)

// Scaling says whether Relay may change the number of instances of apps, and how it does.
type Scaling struct {
	Enabled bool
	// Marathon is how it is read and written to.
	Marathon marathon.Config
	// WaitingPerApp and WaitingInAll are how many requests wait at most for one app that sleeps,
	// and for all.
	WaitingPerApp, WaitingInAll int
	// WakeRate is how many apps are woken a second, at most.
	WakeRate float64
	// Ignored are clients that do not count as use of an app.
	Ignored ignored.Clients
	Peers   Peers
}

// Peers are the other Relays of the same Envoys.
type Peers struct {
	// URLs are their admin endpoints, such as "http://10.0.0.2:9090".
	URLs []string
	// TokenFile holds the token that lets clients in. It is read again when it changes.
	TokenFile string
	// CAFile has the authorities, in PEM, for https URLs; the system's by default.
	CAFile string
}

// validate says what does not go together. Apps says where they come from.
func (s Scaling) validate(apps Apps) error {
	if !s.Enabled {
		if len(s.Peers.URLs) > 0 {
			return errors.New("--peers has an effect with --scaling only")
		}
		if !s.Ignored.None() {
			return errors.New("--idle-ignore has an effect with --scaling only")
		}
		if s.Marathon.Write != (marathon.Credentials{}) {
			return errors.New("--scaling-marathon-user, and the other settings of how Relay logs in to write, have an effect with --scaling only")
		}
		return nil
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(apps.Marathon.URLs) == 0 {
		fail("--scaling needs Marathon (--marathon URL): nothing else can be told how many instances to run")
	}
	if s.WaitingPerApp < 1 || s.WaitingInAll < s.WaitingPerApp {
		fail("--wake-waiting %d must be at least 1, and --wake-waiting-in-all %d not less than it", s.WaitingPerApp, s.WaitingInAll)
	}
	if s.WakeRate <= 0 {
		fail("--wake-rate %g must be more than 0", s.WakeRate)
	}
	for _, peer := range s.Peers.URLs {
		if u, err := url.Parse(peer); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			fail("--peers: one of them is no URL such as http://relay-2:9090 (a token goes into --peers-token-file)")
		}
	}
	return errors.Join(errs...)
}
