package envoy_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/scaling/queue"
	"relay/sources"
	"relay/xds/envoytest"
)

// queueing is an app with a queue, whose instances note how many requests they have at once.
type queueing struct {
	*realEnvoy
	instances []*queuedInstance
	app       *sources.App
}

// startQueueing starts an Envoy that serves the app at shop.test, with three instances.
func startQueueing(t *testing.T, o envoytest.Options, change func(*sources.Port)) *queueing {
	t.Helper()
	q := &queueing{realEnvoy: startEnvoyWith(t, o, func(f *routing.Fleet, _ *certstest.CA) { f.Scaling = true })}
	var addresses []string
	var port queue.Port
	for range 3 {
		i := &queuedInstance{takes: 10 * time.Millisecond}
		s := httptest.NewServer(i)
		t.Cleanup(s.Close)
		q.instances = append(q.instances, i)
		addresses = append(addresses, s.Listener.Addr().String())
		port.Endpoints = append(port.Endpoints, netip.MustParseAddrPort(s.Listener.Addr().String()))
	}
	port.Queue = &sources.Queue{Concurrency: 1, Length: 40}
	q.queued.set(func(p *queue.Port) { *p = port })
	q.app = changed(webApp("/shop/web", "shop.test"), func(p *sources.Port) {
		p.Endpoints, p.Queue = endpoints(addresses...), port.Queue
		if change != nil {
			change(p)
		}
	})
	q.c.SyncApps([]*sources.App{q.app})
	q.certificates()
	q.eventually(t, request{host: "shop.test"}, func(a answer) bool { return a.status == 200 || a.status == 401 })
	q.until(t, "nothing is left", func() bool { return q.queue.Depth("/shop/web", 0).InProgress == 0 })
	return q
}

// atOnce sends so many requests at once, and counts the answers by status and code. When 17 were
// refused, it does something.
func (q *queueing) atOnce(t *testing.T, n int, r request, then func()) map[string]int {
	t.Helper()
	for _, i := range q.instances {
		i.most.Store(0)
	}
	answers := make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			a, err := q.send(t.Context(), r)
			mu.Lock()
			defer mu.Unlock()
			code := regexp.MustCompile(`Error: ([a-z-]+)`).FindStringSubmatch(a.body)
			switch {
			case err != nil:
				t.Error(err)
			case code == nil:
				answers[fmt.Sprint(a.status)]++
			default:
				answers[fmt.Sprint(a.status, " ", code[1])]++
				if then != nil && answers["503 busy"] == 17 {
					then()
					then = nil
				}
			}
		})
	}
	wg.Wait()
	return answers
}

// most is as in queueWorld.
func (q *queueing) most() (most int64) {
	for _, i := range q.instances {
		most = max(most, i.most.Load())
	}
	return most
}

// queues holds that requests queue: 43 of 60 are answered, and no instance has more than one.
func queues(t *testing.T, q *queueing, r request) {
	t.Helper()
	if got := q.atOnce(t, 60, r, hold(q.instances)); got["200"] != 43 || got["503 busy"] != 17 || q.most() != 1 {
		t.Errorf("%s: %v, at most %d at an instance", r.host, got, q.most())
	}
}

// Requests queue by whatever name of its domain they come, and those in excess are told so.
func TestRequestsQueue(t *testing.T) {
	t.Parallel()
	q := startQueueing(t, envoytest.Options{}, nil)
	queues(t, q, request{host: "shop.test"})
	queues(t, q, request{host: "SHOP.test.", http2: true})
	q.c.UpdateApps([]*sources.App{changed(q.app, func(p *sources.Port) { p.Queue = nil })}, nil)
	q.until(t, "they do not queue", func() bool { return q.atOnce(t, 60, request{host: "shop.test"}, nil)["200"] == 60 })
}

// Who is not let in does not take the place of others.
func TestOnlyWhoIsLetInQueues(t *testing.T) {
	t.Parallel()
	q := startQueueing(t, envoytest.Options{}, func(p *sources.Port) {
		p.HTTP = &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "shop", User: "joe", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}}
	})
	if got := q.atOnce(t, 60, request{host: "shop.test"}, nil); got["401 unauthorized"] != 60 {
		t.Errorf("without a password: %v", got)
	}
	if d := q.queue.Depth("/shop/web", 0); d.InProgress != 0 {
		t.Errorf("%+v", d)
	}
}

// An Envoy whose bootstrap has no clusters for queues asks by the one that it has.
func TestQueueWithOlderBootstrap(t *testing.T) {
	t.Parallel()
	q := startQueueing(t, envoytest.Options{OlderBootstrap: true}, nil)
	queues(t, q, request{host: "shop.test"})
}

// Envoys that know no chains by name serve the app without a queue.
func TestOlderEnvoysDoNotQueue(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.38", envoytest.Oldest} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			q := startQueueing(t, envoytest.Options{Version: version}, nil)
			if got := q.atOnce(t, 60, request{host: "shop.test"}, nil); got["200"] != 60 {
				t.Errorf("%v", got)
			}
			for _, s := range q.server.Streams() {
				for _, typed := range s.Types {
					if typed.Rejected != nil {
						t.Errorf("rejected: %+v", typed.Rejected)
					}
				}
			}
		})
	}
}

// A request to an app that sleeps waits for the app first, and then for an instance.
func TestWakeAndQueue(t *testing.T) {
	t.Parallel()
	q := startQueueing(t, envoytest.Options{}, nil)
	gated := *q.app
	gated.Gated = true
	q.c.UpdateApps([]*sources.App{&gated}, nil)
	q.until(t, "Relay is asked about both", func() bool {
		_ = q.atOnce(t, 1, request{host: "shop.test"}, nil)
		q.waker.mu.Lock()
		defer q.waker.mu.Unlock()
		return len(q.waker.checks) > 0
	})
	queues(t, q, request{host: "shop.test"})
}

// An instance that an Envoy does not have, or to which it cannot connect, costs no request: another
// takes it, though that may have one more than it should then.
func TestQueueNamesAnInstanceThatIsGone(t *testing.T) {
	t.Parallel()
	q := startQueueing(t, envoytest.Options{}, nil)
	gone := netip.MustParseAddrPort(fmt.Sprint("127.0.0.1:", envoytest.FreePort(t)))
	only := func(p *queue.Port) { p.Endpoints = []netip.AddrPort{gone} }
	q.queued.set(only)
	q.until(t, "the instance is named", func() bool { return q.queue.Depth("/shop/web", 0).Instances == 1 })
	for range 5 {
		if a, err := q.send(t.Context(), request{host: "shop.test"}); err != nil || a.status != 200 {
			t.Fatalf("Envoy does not have it: %+v, %v", a, err)
		}
	}
	q.c.UpdateApps([]*sources.App{changed(q.app, func(p *sources.Port) {
		p.Endpoints = append(slices.Clone(p.Endpoints), endpoints(gone.String())...)
	})}, nil)
	q.until(t, "Envoy has it", func() bool {
		clusters, err := q.envoy.Get(t.Context(), "/clusters")
		return err == nil && strings.Contains(clusters, gone.String())
	})
	for range 20 {
		if a, err := q.send(t.Context(), request{host: "shop.test"}); err != nil || a.status != 200 {
			t.Fatalf("nothing listens there: %+v, %v", a, err)
		}
	}
	q.until(t, "nothing is left", func() bool { return q.queue.Depth("/shop/web", 0).InProgress == 0 })
}
