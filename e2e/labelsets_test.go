package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	credentialsdir "relay/credentials/dir"
	"relay/internal/problem"
	"relay/sources/labels/traefik"
	"relay/xds/envoytest"
)

// $RELAY_LABEL_SETS is how many random sets of labels are tried in each version of Envoy, and $RELAY_LABEL_SEED
// repeats what a seed came to.
const labelSetsVariable, labelSeedVariable = "RELAY_LABEL_SETS", "RELAY_LABEL_SEED"

// setsAtOnce is how many apps there are at a time.
const setsAtOnce = 120

// TestLabelSets gives apps random labels, good and bad, round after round: Envoy rejects nothing, Relay can build all
// that it took for good, and whoever has no credentials never gets an answer of an app whose labels restrict access,
// well-formed or not.
func TestLabelSets(t *testing.T) {
	t.Parallel()
	versions, sets, seed := []string{envoytest.Newest}, 3*setsAtOnce, uint64(1)
	if text := os.Getenv(labelSetsVariable); text != "" {
		versions, seed = envoytest.AllVersions(), rand.Uint64()
		var err error
		if sets, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv(labelSeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range versions {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Logf("%s=%d", labelSeedVariable, seed)
			w := newScalingWorld(t)
			w.envoy.version = version
			w.playLabelSets(seed, (sets+setsAtOnce-1)/setsAtOnce)
		})
	}
}

// labelRound is a round of random apps.
type labelRound struct {
	w         *world
	strangers *strangers
	sets      []*labelSet
	open      []int // ports that services may have
	answers   map[string]int
	mu        sync.Mutex
	broken    []labelProbe
}

// labelProbe is a question of a stranger.
type labelProbe struct{ scheme, host, path, address string }

func (p labelProbe) String() string { return p.scheme + "://" + p.host + p.path + " " + p.address }

func (w *world) playLabelSets(seed uint64, rounds int) {
	w.t.Helper()
	w.relay.fleet.Faults = true
	w.relay.fleet.HTTPSPublicPort = 443
	w.relay.fleet.ExternalHosts = []string{"id.test:80"}
	w.relay.config.Apps.Marathon.Traefik = &traefik.Options{EntryPoints: traefik.UsualEntryPoints("external"), ExposedByDefault: true}
	w.labelCredentials()
	w.certs.issue("*.test", "task.test")
	tasks := startMarkedTasks(w.t, w.certs.ca, setsAtOnce*setPorts)
	r := &labelRound{w: w, strangers: newStrangers(w.t, w.clients), answers: map[string]int{}}
	for range 12 {
		r.open = append(r.open, int(netip.MustParseAddrPort(freeAddress(w.t)).Port()))
	}
	w.start()
	g := newLabelSets(seed, r.open)
	for ; g.round < rounds && !w.t.Failed(); g.round++ {
		r.sets = nil
		for i := range setsAtOnce {
			s := g.app(i, tasks.ports[i*setPorts:(i+1)*setPorts])
			r.sets = append(r.sets, s)
			w.marathon.SetRawApp(s.id, s.definition())
		}
		r.play(g.round)
	}
	w.t.Logf("answers: %v", r.answers)
	// Those that know no chains of filters answer 403 in place of 401.
	if asks := w.envoy.version >= "1.38"; r.answers["of apps"] == 0 || asks && r.answers["401"] == 0 || r.answers["403"] == 0 {
		w.t.Errorf("the answers show nothing: %v", r.answers)
	}
}

// labelCredentials has some of the credentials and authorities that labels name.
func (w *world) labelCredentials() {
	w.t.Helper()
	folder := w.t.TempDir()
	w.relay.config.Credentials.Dir = credentialsdir.Config{Folder: folder}
	for name, value := range map[string]string{"here": "a password", "shop/oidc": "a secret of a client of the shop", "shop/cache-clients": "another", "bank/keys": `{"keys":[]}`, "bank/oidc": "", "jwks": "x"} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	directoryStore(w).put(deviceAuthority(w.t, "devices").PEM(), nil)
}

// play has Relay read the apps, and asks for all that they have.
func (r *labelRound) play(round int) {
	w := r.w
	domain := fmt.Sprintf("round%d.test", round)
	w.marathon.rawAppQuietly("/round", domain, "127.0.0.1", "1")
	w.upToDate()
	w.clients.expect("http://"+domain+"/", http.StatusBadGateway, "")
	r.broken = nil
	r.each(r.probes())
	// What was open before may be so for a moment: Envoy gets what it needs first. The last try begins after that,
	// however long the machine stood still.
	for began, last := time.Now(), false; len(r.broken) > 0 && !last; {
		last = time.Since(began) > 3*time.Second
		again := r.broken
		r.broken = nil
		r.each(again)
	}
	for _, p := range r.broken {
		w.t.Errorf("round %d: %s", round, r.ask(p))
	}
	if n := w.envoy.rejections(); n != 0 {
		w.t.Errorf("round %d: Envoy rejected %d updates", round, n)
	}
	for _, p := range w.admin.problems() {
		if p.Kind == problem.Resource || p.Kind == problem.Internal || p.Kind == problem.Envoy && !strings.Contains(p.Reason, "older than") {
			text, _ := json.Marshal(r.named(p.App))
			w.t.Errorf("round %d: %+v\n%.3000s", round, p, text)
		}
	}
}

// named are the labels of an app.
func (r *labelRound) named(id string) map[string]string {
	for _, s := range r.sets {
		if s.id == id {
			return s.labels
		}
	}
	return nil
}

// probes are all that strangers ask.
func (r *labelRound) probes() (all []labelProbe) {
	seen := make(map[labelProbe]bool)
	add := func(p labelProbe) {
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	ask := func(host string, paths ...string) {
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		for _, path := range paths {
			add(labelProbe{scheme: "http", host: host, path: path})
		}
		add(labelProbe{scheme: "http", host: strings.ToUpper(host) + ".", path: paths[0]})
		add(labelProbe{scheme: "https", host: host, path: paths[len(paths)-1]})
	}
	for _, s := range r.sets {
		for n := range s.tasks {
			value, _ := s.label(n, "VHOST")
			paths := []string{"/"}
			if text, _ := s.label(n, "PATH"); len(text) < 100 {
				for _, path := range strings.Fields(text) {
					if strings.HasPrefix(path, "/") && !strings.ContainsAny(path, "%?#\x00") {
						paths = append(paths, path, "/"+path, path+"/x", "/%2e"+path, "/;x"+path)
					}
				}
			}
			for domain := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ',' || c == ' ' }) {
				if !strings.Contains(domain, "..") {
					ask(strings.Replace(domain, "*.", "x.", 1), paths...)
				}
			}
		}
		for _, domain := range s.routers {
			ask(domain, "/", "/x", "/x/1", "/internal")
			ask("x."+domain, "/x")
		}
	}
	for _, port := range r.open {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		add(labelProbe{scheme: "tcp", address: address})
		add(labelProbe{scheme: "redis", address: address})
		for _, s := range r.sets {
			for n := range s.tasks {
				if value, _ := s.label(n, "VHOST"); value != "" && s.has(n, "TLS_TERMINATE") {
					host, _, _ := strings.Cut(strings.Replace(value, "*.", "x.", 1), ",")
					add(labelProbe{scheme: "tls", address: address, host: strings.Fields(host + " x")[0]})
				}
			}
		}
	}
	return all
}

// each asks all, and notes what is wrong.
func (r *labelRound) each(all []labelProbe) {
	var group sync.WaitGroup
	next := make(chan labelProbe)
	for range 24 {
		group.Go(func() {
			for p := range next {
				if wrong := r.ask(p); wrong != "" {
					r.mu.Lock()
					r.broken = append(r.broken, p)
					r.mu.Unlock()
				}
			}
		})
	}
	for _, p := range all {
		next <- p
	}
	close(next)
	group.Wait()
}

// ask sends one question, and says what is wrong with the answer.
func (r *labelRound) ask(p labelProbe) (wrong string) {
	status, task := 0, -1
	question := "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
	switch p.scheme {
	case "tcp", "tls":
		task = r.strangers.connect(p.address, p.host, question)
	case "redis":
		task = r.strangers.connect(p.address, "", "*2\r\n$3\r\nGET\r\n$3\r\nzzz\r\n")
	default:
		status, task, _ = r.strangers.ask(p.scheme, p.host, p.path)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if task < 0 {
		r.answers[strconv.Itoa(status)]++
		return ""
	}
	r.answers["of apps"]++
	s, n := r.sets[task/setPorts], task%setPorts
	if n >= len(s.tasks) {
		return fmt.Sprintf("%s is answered by port %d of %s, which it does not have any more", p, n, s.id)
	}
	decides := r.decides(s)
	why := decides.keepsOut(min(n, len(decides.tasks)-1))
	for _, domain := range s.routers {
		if host := strings.TrimSuffix(strings.ToLower(p.host), "."); why == "" && (host == domain || strings.HasSuffix(host, "."+domain)) {
			why = s.routerKeepsOut(domain)
		}
	}
	if why == "" {
		return ""
	}
	text, _ := json.MarshalIndent(decides.labels, "", " ")
	return fmt.Sprintf("%s is answered with status %d by port %d of %s, which keeps strangers out by %s: %.5000s", p, status, n, s.id, why, text)
}

// decides returns the app whose labels count: in a deployment group the oldest.
func (r *labelRound) decides(s *labelSet) *labelSet {
	oldest := s
	for _, other := range r.sets {
		if s.group != "" && other.group == s.group && (other.started < oldest.started || other.started == oldest.started && other.id < oldest.id) {
			oldest = other
		}
	}
	return oldest
}
