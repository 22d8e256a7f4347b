package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Ten thousand updates of endpoints, of other apps and the socket's own, and of routes, clusters and
// certificates, close no socket of any kind. All are used all the while.
func TestUpdatesCloseNoSocket(t *testing.T) {
	w, a, tcp := newSocketWorld(t, "RELAY_0_MAX_REQUESTS", "1000")
	broker, to := startBroker(t)
	mqtt := w.serviceAt("/mqtt", to)
	conns := w.everySocket(a, tcp)
	d := mqttDevice(t, mqtt, "d")
	w.eventually("the device subscribes", func() error {
		if broker.count("Sending SUBACK to d") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	stop := w.conns.keepUsing(conns)
	listeners, sent := w.envoy.listeners(), w.admin.sum(sentEndpoints)
	const rounds, apps = 100, 100
	second := a.instance()
	for round := range rounds {
		for i := range apps {
			id := fmt.Sprintf("/other-%d", i)
			w.marathon.rawAppQuietly(id, fmt.Sprintf("other-%d.test", i), "127.0.0.1", fmt.Sprint(20000+round))
			w.marathon.taskChanged(id)
		}
		// The app's own endpoints come and go, and its routes and clusters change.
		tasks := []string{a.address, second}[:1+round%2]
		limit := fmt.Sprint(1000 + round/10)
		w.marathon.service("/sockets", tasks, "HAPROXY_0_VHOST", fmt.Sprintf("sockets.test,alias-%d.test", round%3), "RELAY_0_MAX_REQUESTS", limit)
		if round%25 == 0 {
			w.certs.issue("sockets.test") // renewed
			w.certs.issue("grpc.test")
		}
		w.marathon.taskChanged("/sockets")
		w.eventually("Envoy has the endpoints", func() error {
			if got, want := w.admin.sum(sentEndpoints)-sent, float64((round+1)*apps); got < want {
				time.Sleep(20 * time.Millisecond) // to ask costs Relay more than what is waited for
				return fmt.Errorf("it was sent %v, want %v", got, want)
			}
			return nil
		})
	}
	w.admin.settled()
	stop()
	w.conns.open(conns...)
	if err := d.published(mqtt, "d", "still here"); err != nil || broker.count("Sending SUBACK to d") != 1 {
		t.Errorf("the device: %v, connected %d times", err, broker.count("Sending SUBACK to d"))
	}
	if now := w.envoy.listeners(); now != listeners {
		t.Errorf("listeners changed: %s, %s", listeners, now)
	}
	w.envoy.accepted()
}

const sentEndpoints = `relay_xds_resources_sent_total{type="endpoints"}`

// taskChanged tells that something has happened to a task of an app.
func (m *runningMarathon) taskChanged(id string) {
	m.Publish("status_update_event", map[string]any{"appId": id, "taskId": "task", "taskStatus": "TASK_RUNNING"})
}

// keepUsing uses connections until stop, and fails the test if one is closed.
func (o *connections) keepUsing(conns []openConn) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			every := time.NewTicker(20 * time.Millisecond)
			defer every.Stop()
			for n := 0; ; n++ {
				if err := c.use(); err != nil {
					o.t.Errorf("%s: %v, after %d uses", c.what, err, n)
					return
				}
				select {
				case <-every.C:
				case <-over:
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { close(over); wg.Wait() })
	o.t.Cleanup(stop)
	return stop
}
