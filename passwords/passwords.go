// Package passwords says whether passwords are right, where Envoy cannot: it knows no hashes of crypt(3). Envoys
// ask before each request to an app port that has such hashes (collator/envoy/passwords.go). What was found out
// is kept for a while, since the hashes are made to take long to check.
package passwords

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"relay/internal/crypt"
	"relay/internal/questions"
	"relay/sources"
)

// Apps says who may use apps. It returns at once, and may be asked by many goroutines.
type Apps interface {
	// Passwords returns who is let in to a port of an app, by its routed id, that a fleet serves; nil if there is
	// no such port, or if it asks for no password.
	Passwords(fleet, app string, port int) *sources.BasicAuth
}

// Limits bound what passwords cost.
type Limits struct {
	// AtOnce is how many are checked at a time, and AtOncePerApp of one app.
	AtOnce, AtOncePerApp int
	// Waiting is how many checks may wait for their turn, WaitingPerApp for one app, and WaitingPerClient those of a
	// client for one app. Wait is for how long.
	Waiting, WaitingPerApp, WaitingPerClient int
	Wait                                     time.Duration
	// Cores is how many cores the checks of one app may take for long, and Ahead how much CPU at once after a rest.
	Cores float64
	Ahead time.Duration
	// Guesses is how many wrong passwords a client may try at an app at once, and GuessEvery how often after these.
	Guesses    int
	GuessEvery time.Duration
	// Kept is how many passwords are kept as right, and as many as wrong: for RightFor and WrongFor.
	Kept               int
	RightFor, WrongFor time.Duration
}

// DefaultLimits are those of Relay.
func DefaultLimits() Limits {
	atOnce := max(1, runtime.GOMAXPROCS(0)/2)
	return Limits{
		AtOnce: atOnce, AtOncePerApp: max(1, atOnce/2),
		Waiting: 3000, WaitingPerApp: 200, WaitingPerClient: 25, Wait: 5 * time.Second,
		Cores: 0.2, Ahead: 5 * time.Second,
		Guesses: 10, GuessEvery: 3 * time.Second,
		Kept: 20_000, RightFor: time.Hour, WrongFor: time.Minute,
	}
}

// Service checks passwords.
type Service struct {
	// Ready is closed when all apps are known; nil is now.
	Ready <-chan struct{}

	limits  Limits
	apps    Apps
	log     *slog.Logger
	guessed rate.Sometimes
	metrics *metrics
	// secret makes keys of what is kept, so that it says nothing of passwords.
	secret [32]byte

	mu sync.Mutex
	// right and wrong are passwords that were checked, and known are clients that had a right one.
	right, wrong *recent[key]
	known        *recent[place]
	pending      map[key]*job
	turns        turns
	running      int
	timer        *time.Timer // of the next app that has used up its share; nil if there is none
}

// New returns a service that has checked nothing yet.
func New(apps Apps, limits Limits, log *slog.Logger, registerer prometheus.Registerer) *Service {
	s := &Service{
		limits: limits, apps: apps, log: log, guessed: rate.Sometimes{First: 1, Interval: time.Minute},
		right: newRecent[key](limits.Kept, limits.RightFor), wrong: newRecent[key](limits.Kept, limits.WrongFor),
		known:   newRecent[place](limits.Kept, limits.RightFor),
		pending: make(map[key]*job), turns: newTurns(limits),
	}
	_, _ = rand.Read(s.secret[:]) // it never fails
	s.metrics = newMetrics(registerer, s)
	return s
}

// question is what an Envoy asks about a request.
type question struct {
	fleet, app string // app is a routed id
	port       int
	client     netip.Addr // not valid if it is not known
	// authorization is the header of the request.
	authorization string
}

// outcome is what becomes of a request. Its text is the result in metrics.
type outcome string

const (
	right       outcome = "right"
	kept        outcome = "kept" // right, as found out before
	wrong       outcome = "wrong"
	none        outcome = "none"        // no password
	guessing    outcome = "guessing"    // the client has tried too many wrong ones
	busy        outcome = "busy"        // too much is to be checked
	left        outcome = "left"        // the client is gone
	unavailable outcome = "unavailable" // another Relay is to be asked
)

// key is a password of a user of a port, made so that it says nothing of the password.
type key [sha256.Size]byte

// check says what becomes of a request, and which realm its client is told.
func (s *Service) check(ctx context.Context, q question) (o outcome, realm string) {
	select {
	case <-s.Ready:
	default:
		if s.Ready != nil {
			return unavailable, ""
		}
	}
	auth := s.apps.Passwords(q.fleet, q.app, q.port)
	if auth == nil {
		return unavailable, ""
	}
	name, password, ok := parseBasic(q.authorization)
	if !ok {
		return none, auth.Realm
	}
	user, exists := userNamed(auth, name)
	against := string(user.Hash)
	if !exists {
		against = "none" // what is known of a user who has this hash does not count
	}
	j := &job{key: s.keyOf(q, name, against, crypt.Canonical(string(user.Hash), password)), place: place{q.app, questions.Client(q.client)}}
	if o := s.found(j); o != "" {
		return o, auth.Realm
	}
	hash, err := crypt.Parse(string(user.Hash))
	if err != nil {
		return wrong, auth.Realm
	}
	j.matches, j.cost = func() bool { return hash.Matches(password) && exists }, hash.Cost(password)
	return s.checkOnce(ctx, j), auth.Realm
}

// userNamed returns a user. If there is no such user, it returns the first one, to be checked in vain: so the time that it
// takes does not tell who exists.
func userNamed(auth *sources.BasicAuth, name string) (user sources.User, exists bool) {
	users := auth.Users()
	for _, u := range users {
		if u.Name == name {
			return u, true
		}
	}
	return users[0], false
}

// keyOf returns the key of a password. It has the hash in it: nothing that was found out of another one counts.
func (s *Service) keyOf(q question, user, hash, password string) key {
	mac := hmac.New(sha256.New, s.secret[:])
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(q.port))
	mac.Write(head[:])
	for _, part := range []string{q.app, user, hash, password} {
		binary.BigEndian.PutUint64(head[:], uint64(len(part)))
		mac.Write(head[:])
		mac.Write([]byte(part))
	}
	return key(mac.Sum(nil))
}
