package envoy_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// greets is an instance of a TCP service that speaks first.
func (e *realEnvoy) greets() (address string) {
	return e.instance(func(conn *net.TCPConn) {
		_, _ = fmt.Fprintln(conn, "hello")
		_, _ = bufio.NewReader(conn).ReadString('\n')
	})
}

// greeted connects and reads the first line.
func greeted(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	return greets(conn)
}

func greets(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err := bufio.NewReader(conn).ReadString('\n')
	return err
}

// A TCP connection that does not reach a task is tried on another.
func TestDeadTaskCostsNoConnection(t *testing.T) {
	t.Parallel()
	dead := func() string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startEnvoyWith(t, envoytest.Options{Version: version})
		service := func(id string, change func(*sources.Port), tasks ...string) (*sources.App, string) {
			port := envoytest.FreePort(t)
			app := changed(serviceApp(id, sources.TCP{Port: port}), func(p *sources.Port) {
				p.Endpoints = endpoints(tasks...)
				change(p)
			})
			return app, fmt.Sprintf("127.0.0.1:%d", port)
		}
		hashed := func(p *sources.Port) {
			p.Upstream = &sources.Upstream{Balance: sources.BalanceHash}
			p.HTTP = &sources.HTTP{Hash: &sources.Hash{By: sources.HashSourceIP}}
		}
		one := uint32(1)
		var apps []*sources.App
		addresses := make(map[string]string)
		type tasksOf struct {
			change func(*sources.Port)
			tasks  []string
		}
		services := map[string]tasksOf{
			"/two":   {func(*sources.Port) {}, []string{e.greets(), dead()}},
			"/three": {func(*sources.Port) {}, []string{e.greets(), dead(), dead()}},
			"/once":  {func(p *sources.Port) { p.HTTP = &sources.HTTP{NumRetries: &one} }, []string{e.greets(), dead()}},
			"/silent": {func(p *sources.Port) {
				p.Upstream = &sources.Upstream{ConnectTimeout: 100 * time.Millisecond}
			}, []string{e.greets(), silent(t)}},
		}
		// Some of many services have the dead task first.
		for i := range 4 {
			services[fmt.Sprintf("/hash-%d", i)] = tasksOf{hashed, []string{e.greets(), dead()}}
			services[fmt.Sprintf("/two-%d", i)] = tasksOf{func(*sources.Port) {}, []string{e.greets(), dead()}}
		}
		for id, s := range services {
			app, address := service(id, s.change, s.tasks...)
			apps, addresses[id] = append(apps, app), address
		}
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps(apps)
		for id, address := range addresses {
			// The first one has nobody before it that would have a task ejected.
			var first net.Conn
			e.until(t, id+" listens", func() (listens bool) {
				var err error
				first, err = net.DialTimeout("tcp", address, patience)
				return err == nil
			})
			if err := greets(first); err != nil {
				t.Errorf("%s: the first connection: %v", id, err)
			}
			var failed atomic.Int64
			var wg sync.WaitGroup
			for range parallel {
				wg.Go(func() {
					for range 300 / parallel {
						if err := greeted(address); err != nil {
							failed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			if n := failed.Load(); n > 0 {
				t.Errorf("%s: %d of 300 connections failed", id, n)
			}
		}
	})
}
