package labels

import (
	"math"
	"strconv"
	"strings"
	"time"

	"relay/internal/problem"
	"relay/sources"
)

// What Relay may do with the instances of an app, and how requests wait for one. The labels of
// sleep and size have an effect where Relay runs with --scaling.
var scalingLabels = []Label{
	{Key: "RELAY_IDLE_AFTER", noField: noScaling, ofApp: (*reader).readIdleAfter,
		meaning: "the app is put to sleep, which is scaled to 0, when nobody has used it for so long: no request, WebSocket or TCP connection came, and none was " +
			"in progress. The next request wakes it. `1s` to `8760h`; less than a minute has it sleep and wake all the time",
		byDefault: "it never sleeps", envoy: "`ext_authz`, while it sleeps", example: "30m"},
	{Key: "RELAY_WAKE_TIMEOUT", noField: noScaling, ofApp: (*reader).readWakeTimeout,
		meaning: "how long requests wait for the app to start, `1s` to `10m`; then they get the page `starting`", byDefault: "`60s`", example: "2m"},
	{Key: "RELAY_WAKE_PAGE", noField: noScaling, ofApp: (*reader).readWakePage,
		meaning: "browsers get a page that shows how far the start is, and reloads by itself. All other clients wait", byDefault: "`false`", example: "true"},
	{Key: "RELAY_{n}_WAKE", noField: noScaling, ofPort: (*reader).readWakeTCP,
		meaning: "connections to a TCP service wait while the app sleeps, and wake it: `client-first` if the client sends the first bytes, as with HTTP, TLS, PostgreSQL and Redis; " +
			"`any` for all others. Both hold any connection, a probe's, too: see `--idle-ignore`",
		byDefault: "they are refused, and do not wake the app", envoy: "`ratelimit` of the network filters", example: "client-first"},
	{Key: "RELAY_ASLEEP", noField: noScaling, ofApp: (*reader).readAsleep,
		meaning: "how many instances the app had. Relay writes it when it puts the app to sleep, and takes it away when it wakes it: there is no need to set it. " +
			"Whoever takes it off an app that sleeps keeps it asleep for good",
		byDefault: "none", example: "2"},
	{Key: "RELAY_SCALE", noField: noScaling, ofApp: (*reader).readScale,
		meaning:   "Relay chooses the number of instances, between these two, by the requests in progress; 1 to 1000. For a number that stays, set `instances` of the app",
		byDefault: "people choose", example: "2..20"},
	{Key: "RELAY_SCALE_TARGET", noField: noScaling, ofApp: (*reader).readScaleTarget,
		meaning: "how many requests in progress one instance is meant to have", byDefault: "10", example: "2.5"},
	{Key: "RELAY_SCALE_DOWN_AFTER", noField: noScaling, ofApp: (*reader).readScaleDownAfter,
		meaning: "for how long fewer instances must have been enough before there are fewer, `1s` to `24h`", byDefault: "`5m`", example: "10m"},
	{Key: "RELAY_{n}_CONCURRENCY", Field: "concurrency", httpOnly: true, setting: (*Settings).concurrency,
		meaning: "how many requests an instance has at most at one time, 1 to 10000. The others wait in order of arrival", byDefault: "no limit", envoy: "`ext_proc` of the route", example: "1"},
	{Key: "RELAY_{n}_QUEUE", Field: "queue", httpOnly: true, setting: (*Settings).queueLength,
		meaning:   "how many requests wait at most, 0 to 10000. Beyond it they get the page `busy`, 503 with `Retry-After`",
		byDefault: "100 with `CONCURRENCY`", example: "200"},
	{Key: "RELAY_{n}_QUEUE_TIMEOUT", Field: "queueTimeout", httpOnly: true, setting: (*Settings).queueTimeout,
		meaning: "how long a request waits at most, `1ms` to `10m`; then it gets the page `busy`", byDefault: "`30s`", example: "5s"},
	{Key: "RELAY_MAINTENANCE", Field: "maintenance", ofApp: (*reader).readMaintenance,
		meaning:   "all requests get the page `maintenance`, with 503, at once. Instances and WebSockets stay",
		byDefault: "`false`", envoy: "`direct_response`", example: "true"},
}

// noScaling is why files have no field for what scaling asks of the source.
const noScaling = "nobody starts or stops instances of apps in files"

const (
	minIdleAfter, briefIdleAfter = time.Second, time.Minute
	minWakeTimeout               = time.Second
	maxScale                     = 1000
	maxScaleTarget               = 1e6
	maxScaleDownAfter            = 24 * time.Hour
	maxConcurrency               = 10_000
	maxQueue                     = 10_000
)

// MaxAsleep bounds the number that RELAY_ASLEEP has: Relay wakes no app with more instances.
const MaxAsleep = 10_000

// scalingLabelsRead is what the labels of an app say of its scaling.
type scalingLabelsRead struct {
	sources.Scaling
	asleep      int
	maintenance bool
	// given has the keys of those that have no effect without another.
	given map[string]bool
}

// give notes a label that another one gives its effect.
func (s *scalingLabelsRead) give(key string) {
	if s.given == nil {
		s.given = map[string]bool{}
	}
	s.given[key] = true
}

// duration reads one between two bounds; ok is false if it is none, or is left out.
func (r *reader) duration(key, value string, from, to time.Duration, what string) (d time.Duration, ok bool) {
	if value == "" {
		return 0, false
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < from || d > to {
		r.problem(key, "%.40q is ignored%s: write a duration from %s to %s, such as 30s or 1h30m", value, what, short(from), short(to))
		return 0, false
	}
	return d, true
}

// short is a duration as people write it: without minutes and seconds that are 0.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (r *reader) readIdleAfter(key, value string) {
	d, ok := r.duration(key, value, minIdleAfter, longestTimeout, ", and the app never sleeps")
	if !ok {
		return
	}
	if d < briefIdleAfter {
		r.problems.AddTo(problem.Problem{Subject: key, Severity: problem.Advice}, "%s is so short that the app may sleep and wake all the time: write 1m or more", value)
	}
	r.scaling.IdleAfter = d
}

func (r *reader) readWakeTimeout(key, value string) {
	r.scaling.give(key)
	r.scaling.WakeTimeout, _ = r.duration(key, value, minWakeTimeout, sources.MaxWakeTimeout, "")
}

func (r *reader) readWakePage(key, value string) {
	r.scaling.give(key)
	r.scaling.WakePage = r.flag(key, value)
}

func (r *reader) readMaintenance(key, value string) { r.scaling.maintenance = r.flag(key, value) }

// flag takes a word that is neither true nor false as false.
func (r *reader) flag(key, value string) bool {
	truth, ok := parseBool(value)
	if !ok {
		r.problem(key, "%.40q is taken as false: write true or false", value)
	}
	return truth
}

// readAsleep ignores what is no number that Relay would have written: an app with such a label
// is one that people have scaled to 0.
func (r *reader) readAsleep(key, value string) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 || n > MaxAsleep {
		r.problem(key, "%.40q is ignored, and Relay does not wake the app: take the label away, and scale the app to what it shall have", value)
		return
	}
	r.scaling.asleep = int(n)
}

func (r *reader) readScale(key, value string) {
	if value == "" {
		return
	}
	low, high, isRange := strings.Cut(value, "..")
	from, errFrom := strconv.ParseUint(strings.TrimSpace(low), 10, 31)
	to, errTo := strconv.ParseUint(strings.TrimSpace(high), 10, 31)
	switch {
	case !isRange && errFrom == nil:
		r.problem(key, "%.40q is ignored: write the least and the most instances, such as 2..20. For a number that stays, set instances of the app", value)
	case isRange && errFrom == nil && errTo == nil && from == 0:
		r.problem(key, "%.40q is ignored: the least is 1. To have no instance while nobody uses the app, set RELAY_IDLE_AFTER", value)
	case !isRange || errFrom != nil || errTo != nil || from > to || to > maxScale:
		r.problem(key, "%.40q is ignored: write the least and the most instances, from 1 to %d, such as 2..20", value, maxScale)
	default:
		r.scaling.Min, r.scaling.Max = int(from), int(to)
	}
}

func (r *reader) readScaleTarget(key, value string) {
	r.scaling.give(key)
	if value == "" {
		return
	}
	target, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(target) || target < 0.01 || target > maxScaleTarget {
		r.problem(key, "%.40q is ignored: write a number from 0.01 to %d, such as 10", value, int(maxScaleTarget))
		return
	}
	r.scaling.Target = target
}

func (r *reader) readScaleDownAfter(key, value string) {
	r.scaling.give(key)
	r.scaling.DownAfter, _ = r.duration(key, value, time.Second, maxScaleDownAfter, "")
}

func (r *reader) readWakeTCP(key string, port int, value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
	case "client-first":
		r.ports[port].Wake = sources.WakeClientFirst
	case "any":
		r.ports[port].Wake = sources.WakeAny
	default:
		r.problem(key, "%.40q is ignored: write client-first or any", value)
	}
}

func (s *Settings) concurrency(value string) {
	s.queue.Concurrency, _ = s.number(value, 1, maxConcurrency)
}

func (s *Settings) queueLength(value string) {
	if n, ok := s.number(value, 0, maxQueue); ok {
		s.queueLen = &n
	}
}

func (s *Settings) queueTimeout(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Millisecond || d > sources.MaxQueueTimeout {
		s.problem("%.40q is ignored: write a duration from 1ms to %s, such as 30s", value, short(sources.MaxQueueTimeout))
		return
	}
	s.queue.Timeout = d
}

// choosesItself names the setting by which a request has its instance whatever others do.
func (s *Settings) choosesItself() string {
	switch {
	case s.http.Sticky:
		return "STICKY"
	case s.http.KeepsClients():
		return "STICKY_HEADER"
	case s.hashPolicy != nil:
		return "HASH_POLICY"
	case s.http.Hash != nil:
		return "BALANCE"
	}
	return ""
}

// number reads a whole number between two bounds; ok is false if it is none, or is left out.
func (s *Settings) number(value string, from, to int) (n int, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < from || n > to {
		s.problem("%.40q is ignored: write a number from %d to %d", value, from, to)
		return 0, false
	}
	return n, true
}

// Queue returns how requests to the port wait for an instance; nil if they do not. It must be
// called before Finish, and after TCP, if that is called.
func (s *Settings) Queue() *sources.Queue {
	if s.isTCP {
		return nil
	}
	if s.queue.Concurrency == 0 {
		for _, name := range []string{"QUEUE", "QUEUE_TIMEOUT"} {
			if s.given[name] && !s.given["CONCURRENCY"] {
				s.problemOn(name, "has no effect without RELAY_{n}_CONCURRENCY (in a YAML file: concurrency), which says how many requests an instance has at one time")
			}
		}
		return nil
	}
	if with := s.choosesItself(); with != "" {
		s.problemOn("CONCURRENCY", "has no effect beside %s: that chooses the instance by the client, and a queue takes the least busy one", with)
		return nil
	}
	s.queue.Length = sources.DefaultQueueLength
	if s.queueLen != nil {
		s.queue.Length = *s.queueLen
	}
	return &s.queue
}
