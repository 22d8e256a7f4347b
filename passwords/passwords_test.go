package passwords

import (
	"encoding/base64"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/internal/crypt"
	"relay/internal/secret"
	"relay/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Hashes of passwords, which are in their names.
const (
	sha512Secret = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
	sha256Other  = "$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC"
	bcryptSecret = "$2y$05$jAol9CIlh6fUQ7ElMovyF.OpmRRkbrIGGTRQiYdaXojW1dx2jpT1y"
)

// apps are those of a test, by fleet, id and port.
type apps struct {
	mu sync.Mutex
	of map[string]*sources.BasicAuth
}

func (a *apps) set(name string, users ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[string]*sources.BasicAuth)
	}
	var all []sources.User
	for i := 0; i < len(users); i += 2 {
		all = append(all, sources.User{Name: users[i], Hash: secret.String(users[i+1])})
	}
	a.of[name], _ = sources.NewBasicAuth("Shop", all)
}

// Passwords implements Apps.
func (a *apps) Passwords(fleet, app string, port int) *sources.BasicAuth {
	a.mu.Lock()
	defer a.mu.Unlock()
	if fleet != "external" || port != 0 {
		return nil
	}
	return a.of[app]
}

func newService(a *apps) *Service {
	limits := DefaultLimits()
	limits.Wait = time.Minute // a machine with much to do may take seconds for one password
	return New(a, limits, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func asks(app, authorization string) question {
	return question{fleet: "external", app: app, client: netip.MustParseAddr("192.0.2.7"), authorization: authorization}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a := &apps{}
	a.set("/a", "joe", sha512Secret, "jürgen", sha256Other, "ann", bcryptSecret)
	a.set("/b", "joe", sha256Other)
	s := newService(a)
	for _, tt := range []struct {
		what, app, authorization string
		want                     outcome
	}{
		{"right", "/a", basic("joe", "secret"), right},
		{"again", "/a", basic("joe", "secret"), kept},
		{"in another app", "/b", basic("joe", "secret"), wrong},
		{"its own", "/b", basic("joe", "other"), right},
		{"of another user", "/a", basic("joe", "other"), wrong},
		{"in UTF-8", "/a", basic("jürgen", "other"), right},
		{"bcrypt", "/a", basic("ann", "secret"), right},
		{"scheme in lower case", "/a", "basic " + base64.StdEncoding.EncodeToString([]byte("ann:secret")), kept},
		{"without padding", "/a", strings.TrimRight(basic("ann", "secret"), "="), kept},
		{"unknown user", "/a", basic("eve", "secret"), wrong},
		{"empty user", "/a", basic("", "secret"), wrong},
		{"empty password", "/a", basic("joe", ""), wrong},
		{"colon in the password", "/a", basic("joe", "secret:"), wrong},
		{"NUL", "/a", basic("joe", "secret\x00"), wrong},
		{"the hash", "/a", basic("joe", sha512Secret), wrong},
		{"too long", "/a", basic("joe", strings.Repeat("x", crypt.MaxPassword+1)), none},
		{"much too long", "/a", basic("joe", strings.Repeat("x", 1<<20)), none},
		{"no header", "/a", "", none},
		{"no colon", "/a", "Basic " + base64.StdEncoding.EncodeToString([]byte("joe")), none},
		{"another scheme", "/a", "Bearer " + base64.StdEncoding.EncodeToString([]byte("joe:secret")), none},
		{"two headers", "/a", basic("joe", "wrong") + "," + basic("joe", "secret"), none},
		{"unknown app", "/c", basic("joe", "secret"), unavailable},
	} {
		o, realm := s.check(t.Context(), asks(tt.app, tt.authorization))
		if o != tt.want || (realm == "Shop") != (tt.want != unavailable) {
			t.Errorf("%s: %s, realm %q; want %s", tt.what, o, realm, tt.want)
		}
	}
	other := asks("/a", basic("joe", "secret"))
	other.fleet = "internal"
	if o, _ := s.check(t.Context(), other); o != unavailable {
		t.Errorf("from a fleet that does not serve the app: %s", o)
	}
	ready := make(chan struct{})
	s.Ready = ready
	if o, _ := s.check(t.Context(), asks("/a", basic("joe", "secret"))); o != unavailable {
		t.Errorf("before apps are known: %s", o)
	}
	close(ready)
	if o, _ := s.check(t.Context(), asks("/a", basic("joe", "secret"))); o != kept {
		t.Errorf("when they are: %s", o)
	}
}

// What was found out of a hash counts for no other one.
func TestHashChanges(t *testing.T) {
	t.Parallel()
	a := &apps{}
	a.set("/a", "joe", sha512Secret)
	s := newService(a)
	check := func(password string, want outcome) {
		t.Helper()
		if o, _ := s.check(t.Context(), asks("/a", basic("joe", password))); o != want {
			t.Errorf("%s: %s, want %s", password, o, want)
		}
	}
	check("secret", right)
	check("other", wrong)
	a.set("/a", "joe", sha256Other)
	check("secret", wrong)
	check("other", right)
	a.set("/a", "ann", sha256Other)
	check("other", wrong)
	a.set("/a", "joe", bcryptSecret)
	check("secret", right)
	a.set("/a")
	check("secret", unavailable)
}

// Of bcrypt 72 bytes count: nobody fills what is kept with passwords that are all right.
func TestSamePasswords(t *testing.T) {
	t.Parallel()
	s := newService(&apps{})
	q := asks("/a", "")
	long := strings.Repeat("x", 80)
	if s.keyOf(q, "joe", "h", crypt.Canonical(bcryptSecret, long+"1")) != s.keyOf(q, "joe", "h", crypt.Canonical(bcryptSecret, long+"2")) {
		t.Error("passwords that are the same to the hash are kept apart")
	}
	q2 := q
	q2.port = 1
	for what, k := range map[string]key{
		"user": s.keyOf(q, "jo", "eh", long), "port": s.keyOf(q2, "joe", "h", long), "app": s.keyOf(asks("/b", ""), "joe", "h", long), "hash": s.keyOf(q, "joe", "i", long),
	} {
		if k == s.keyOf(q, "joe", "h", long) {
			t.Errorf("another %s has the same key", what)
		}
	}
	if newService(&apps{}).keyOf(q, "joe", "h", long) == s.keyOf(q, "joe", "h", long) {
		t.Error("a key says something of a password to who knows another Relay's")
	}
}

func FuzzParseBasic(f *testing.F) {
	f.Add(basic("joe", "secret"))
	f.Add("Basic am9l")
	f.Fuzz(func(t *testing.T, header string) {
		user, password, ok := parseBasic(header)
		if ok && (strings.Contains(user, ":") || len(password) > crypt.MaxPassword || len(header) > maxAuthorization) {
			t.Errorf("%q: %q %q", header, user, password)
		}
	})
}
