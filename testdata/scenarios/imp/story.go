// Package imp is connection servers that hold a TLS connection of each device in the field. Devices show
// a certificate; servers learn from Envoy who they are, and hand their messages to agents.
package imp

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	connectionsApp = "/imp/connections"
	agentApp       = "/imp/agent"
	servers        = 3
	devices        = 300
	devicesLater   = 100
	// rate is RELAY_0_ACCEPT_RATE.
	rate   = 50
	tenant = "spiffe://imp.test/tenant/acme/"
)

// New returns the scenario.
func New() *scenario.Scenario {
	s, _ := NewWith()
	return s
}

// NewWith returns the scenario, and what issues a certificate for one more device of its tenant, with its key, once
// the scenario runs.
func NewWith() (s *scenario.Scenario, issue func(id string) (certificate, key []byte, err error)) {
	f := &field{system: &system{figures: scenario.NewFigures()}}
	return f.scenario(), f.issuePEM
}

func (f *field) scenario() *scenario.Scenario {
	return &scenario.Scenario{
		Name: "imp", Title: "devices in the field, each with a TLS connection to one of three servers",
		Figures: f.system.figures, Apps: apps, Ports: []string{"devices"},
		Certificates: [][]string{{"devices.imp.test"}, {"agents.imp.test"}},
		Programs:     map[string]marathontest.Program{connectionsApp: f.system.connections, agentApp: f.system.agent},
		Prepare:      func(r *scenario.Run) { r.Must(f.prepare(r)) }, Live: f.live, Story: f.story,
		Events: []scenario.Event{
			{Text: "a server dies", Do: func(r *scenario.Run) error { return r.Crash(r.Tasks(connectionsApp)[0]) }},
			{Text: "a release: the old servers tell their devices to come again", Do: func(r *scenario.Run) error { return r.Release(connectionsApp) }},
			{Text: "a stranger tries", Do: func(r *scenario.Run) error { _ = f.tries(r, f.stranger); return nil }},
			{Text: "Relay is stopped, and another one started", Do: (*scenario.Run).RestartRelay},
		},
	}
}

// field is all devices, and who is taken for one.
type field struct {
	system    *system
	authority *authority
	// first are the devices that there are at first, later those that come later, and devices those
	// that are there.
	first, later, devices []*device
	// stranger has a certificate of another authority, anonymous none, other one of another tenant, and
	// late one that has ended.
	stranger, anonymous, other, late *device
}

// prepare makes the certificates of devices.
func (f *field) prepare(r *scenario.Run) (err error) {
	f.system.agents = r.Client()
	if f.authority, err = newAuthority("Devices"); err != nil {
		return err
	}
	foreign, err := newAuthority("Somebody")
	if err != nil {
		return err
	}
	list, err := f.authority.list()
	if err := errors.Join(err, r.Directory.PutFile("devices.ca.pem", f.authority.pem()), r.Directory.PutFile("devices.crl.pem", list)); err != nil {
		return err
	}
	nextYear := time.Now().AddDate(1, 0, 0)
	var all []*device
	issue := func(id string, by *authority, uri string, notAfter time.Time) *device {
		certificate, failed := by.issue(uri, notAfter)
		err = errors.Join(err, failed)
		return newDevice(id, r.Port("devices"), r.CA.ClientTLS().RootCAs, &certificate)
	}
	for n := range devices + devicesLater {
		id := fmt.Sprintf("device-%d", n)
		all = append(all, issue(id, f.authority, tenant+id, nextYear))
	}
	f.first, f.later = all[:devices], all[devices:]
	f.stranger = issue("device-1", foreign, tenant+"device-1", nextYear)
	f.other = issue("device-1", f.authority, "spiffe://imp.test/tenant/other/device-1", nextYear)
	f.late = issue("device-1", f.authority, tenant+"device-1", time.Now().Add(-time.Minute))
	f.anonymous = newDevice("device-1", r.Port("devices"), r.CA.ClientTLS().RootCAs, nil)
	return err
}

// bring adds devices that stay connected.
func (f *field) bring(r *scenario.Run, devices []*device) {
	f.devices = append(f.devices, devices...)
	for _, d := range devices {
		r.Go(func(ctx context.Context) { d.stay(ctx, r) })
	}
}

func (f *field) live(r *scenario.Run) {
	f.bring(r, f.first)
	r.Go(func(ctx context.Context) {
		for n := 0; scenario.Pause(ctx, 20*time.Millisecond); n++ {
			if _, err := f.first[n%len(f.first)].ask(r, frame{toAgent, "all is well"}, fromAgent); err != nil && !errors.Is(err, errAway) && ctx.Err() == nil {
				r.Figures.Request(0, err)
			}
		}
	})
}

func (f *field) story(r *scenario.Run) {
	f.comeIn(r)
	f.areLetIn(r)
	f.stay(r)
	f.move(r)
}

func (f *field) comeIn(r *scenario.Run) {
	r.Step("300 devices connect at once: servers take 50 a second each, have 100 each, and know who each is")
	start := time.Now()
	f.bring(r, f.first)
	f.allConnected(r)
	f.paced(r, devices, start, servers)
	f.even(r, devices/servers*110/100)
	r.Check(f.system.unknown.Load()+f.system.lied.Load() == 0, "%d are unknown, %d are another one", f.system.unknown.Load(), f.system.lied.Load())

	r.Step("each has its agent in the cloud, which remembers what it was told")
	r.Must(f.tellAgents(r, "1"))
	r.Must(f.tellAgents(r, "2"))

	r.Step("a server more, and 100 more devices: all go to it, and no other moves")
	before := f.ends()
	r.Must(r.Scale(connectionsApp, servers+1))
	fresh := r.Tasks(connectionsApp)[servers]
	f.awaitServer(r, f.system.figures.Named(fresh))
	f.bring(r, f.later)
	f.allConnected(r)
	r.Check(f.system.figures.Open(connectionsApp)[fresh] >= devicesLater*90/100, "the new server has %d", f.system.figures.Open(connectionsApp)[fresh])
	r.Check(f.ends() == before, "before %+v, then %+v", before, f.ends())
}

func (f *field) areLetIn(r *scenario.Run) {
	r.Step("strangers, other tenants, and who has no or an old certificate, get nothing: no server hears of them")
	reached := f.system.reached.Load()
	for _, d := range []*device{f.stranger, f.other, f.late, f.anonymous} {
		r.Check(f.tries(r, d) != nil, "one of them was let in")
	}
	r.Check(f.system.reached.Load() == reached, "%d connections of them reached servers", f.system.reached.Load()-reached)
	liar := newDevice("device-2", f.devices[1].address, f.devices[1].config.RootCAs, &f.devices[1].config.Certificates[0])
	r.Check(f.tries(r, liar) != nil && f.system.lied.Load() == 1, "a device passes for another one")
}

func (f *field) stay(r *scenario.Run) {
	r.Step("certificates are renewed, agents are deployed, Relay is upgraded: no device notices")
	before := f.ends()
	renewed, err := r.CA.Issue([]string{"devices.imp.test"}, certstest.Options{})
	r.Must(err)
	r.Must(errors.Join(r.Directory.Put("devices.imp.test", renewed), r.ReadCertificates(), r.Scale(agentApp, 3), r.Release(agentApp), r.RestartRelay()))
	r.Eventually("the new certificate to be shown", func() error { return f.shows(renewed) })
	f.allConnected(r)
	r.Check(f.ends() == before, "before %+v, then %+v", before, f.ends())

	r.Step("a device is stolen, and its certificate revoked: it does not come in again, all others stay")
	f.revoke(r, f.devices[0])
	r.Check(f.ends() == before, "before %+v, then %+v", before, f.ends())
	f.devices = f.devices[1:]
}

func (f *field) move(r *scenario.Run) {
	r.Step("a server dies: its devices are back at the rate that the others take, and no server has more than its share of three")
	task := r.Tasks(connectionsApp)[0]
	had := f.system.figures.Open(connectionsApp)[task]
	start := time.Now()
	r.Must(r.Crash(task))
	r.Eventually("its devices to notice", func() error {
		if now := f.ends(); now.cut < had-1 {
			return fmt.Errorf("%d have, of %d", now.cut, had)
		}
		return nil
	})
	f.allConnected(r)
	f.paced(r, had, start, servers+1)
	f.even(r, (devices+devicesLater)/servers*110/100)
	died := f.ends()
	r.Check(died.cut <= had && died.told == 0, "the server had %d; %+v", had, died)

	r.Step("a release: each device is told once to come again, and comes to a new server")
	r.Must(r.Release(connectionsApp))
	f.allConnected(r)
	f.even(r, (devices+devicesLater)/(servers+1)*110/100)
	released := f.ends()
	r.Check(released.cut == died.cut, "%d were cut off", released.cut-died.cut)
	r.Check(released.told == len(f.devices), "%d devices were told %d times", len(f.devices), released.told)
}

// ends counts how connections ended so far.
type ends struct{ told, cut int }

func (f *field) ends() (e ends) {
	for _, d := range f.devices {
		d.note(func() { e.told, e.cut = e.told+d.told, e.cut+d.cut })
	}
	return e
}

// allConnected waits until all devices are, and get an answer.
func (f *field) allConnected(r *scenario.Run) {
	r.Eventually("all devices", func() error {
		return f.each(func(d *device) error {
			_, err := d.ask(r, frame{ping, "?"}, pong)
			return err
		})
	})
}

// each does something with all devices, a few at a time.
func (f *field) each(do func(*device) error) error {
	var mu sync.Mutex
	var failure error
	todo := make(chan *device)
	var doing sync.WaitGroup
	for range 16 {
		doing.Go(func() {
			for d := range todo {
				if err := do(d); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
				}
			}
		})
	}
	for _, d := range f.devices {
		todo <- d
	}
	close(todo)
	doing.Wait()
	return failure
}

// even fails the story if a server has more than so many devices.
func (f *field) even(r *scenario.Run, most int) {
	open := f.system.figures.Open(connectionsApp)
	for task, n := range open {
		r.Check(n <= most, "%s has %d devices, want %d at most: %v", task, n, most, open)
	}
}

// paced fails the story if devices came in sooner than servers take them; a few may at once.
func (f *field) paced(r *scenario.Run, devices int, from time.Time, servers int) {
	took, least := time.Since(from), time.Duration(devices)*time.Second/time.Duration(servers*rate)*9/10
	r.Say("   %d devices were there after %s", devices, took.Round(time.Millisecond))
	r.Check(took >= least, "%d devices were there after %s: %d servers take %d a second each", devices, took, servers, rate)
}

// tellAgents has each device tell its agent something.
func (f *field) tellAgents(r *scenario.Run, want string) error {
	return f.each(func(d *device) error {
		got, err := d.ask(r, frame{toAgent, "all is well"}, fromAgent)
		if err == nil && got != want {
			err = fmt.Errorf("the agent of %s was told %s times, want %s", d.id, got, want)
		}
		return err
	})
}

// awaitServer waits until new connections come to a server that has none yet.
func (f *field) awaitServer(r *scenario.Run, name string) {
	r.Eventually("a connection to "+name, func() error {
		conn, server, err := f.later[0].connect(r.Context())
		if err != nil {
			return err
		}
		_ = conn.Close()
		if server != name {
			return fmt.Errorf("it came to %s", server)
		}
		return nil
	})
}

// tries has a device connect once, and returns why it cannot; nil if it can.
func (f *field) tries(r *scenario.Run, d *device) error {
	conn, _, err := d.connect(r.Context())
	if err != nil {
		r.Figures.Refused()
		return err
	}
	return conn.Close()
}
