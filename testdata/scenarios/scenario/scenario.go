// Package scenario runs systems that people have behind Relay, made small: apps in a simulated
// Marathon whose tasks are real servers, certificates, the relay binary, a real Envoy, and clients.
// A test or a command tells a scenario's story once and says what did not hold; the demo has it go
// on, with live figures.
package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/certs/certstest"
	"relay/internal/testbed"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// patience bounds every wait for something that must happen.
const patience = 40 * time.Second

// Scenario is a system that people run.
type Scenario struct {
	// Name is that of the folder, and Title says in a few words what it is.
	Name, Title string
	// Figures are those of the servers and clients.
	Figures *Figures
	// Apps are Marathon's app definitions, as a JSON array.
	Apps []byte
	// Programs are what the tasks of these apps run. An id that ends with * stands for all that begin so.
	Programs map[string]marathontest.Program
	// Certificates are the names of each certificate that there is.
	Certificates [][]string
	// Flags are further ones of "relay serve".
	Flags []string
	// Ports are names of TCP services. In Apps, ${PORT_name} is the port that Envoy opens for one.
	Ports []string
	// Edges are fleets that have one Envoy each: the first binds 127.0.0.1, the second 127.0.0.2, and so on, all at the
	// same ports. Without any there is one Envoy, of the fleet external.
	Edges []string
	// Prepare, when set, is called before Relay starts.
	Prepare func(r *Run)
	// Story is told once. Live starts what the demo has go on, and Events happen in it in turn.
	Story, Live func(r *Run)
	Events      []Event
	// With Keys, the demo breaks and mends what its user wants; Guide is what to look at, and Look what is printed when it
	// is another than before, in place of the figures.
	Keys  []Key
	Guide func(r *Run) []string
	Look  func(r *Run) []string
}

// Event is something that happens now and then in the demo.
type Event struct {
	Text string
	Do   func(r *Run) error
}

// Settings say where a scenario runs.
type Settings struct {
	RelayBinary, EnvoyBinary string
	// Out takes what happens, line by line.
	Out io.Writer
	// Verbose shows the logs of Relay and Envoy too.
	Verbose bool
	// Keys are those that are pressed, or come in lines; nil for none.
	Keys io.Reader
}

// Run is a scenario that runs.
type Run struct {
	Marathon *marathontest.Server
	// CA issued the certificates, and Directory has those that Relay serves.
	CA        *certstest.CA
	Directory testbed.CertificateDirectory
	Figures   *Figures

	scenario *Scenario
	settings Settings
	bed      *testbed.Bed
	edges    []*edge
	parts    sync.Mutex // guards which processes bed and edges have, and programs
	programs []*testbed.Process
	// http, https and admin are addresses; ports are those of TCP services.
	http, https, admin string
	ports              map[string]string

	ctx     context.Context
	cancel  context.CancelFunc
	clients sync.WaitGroup
	stops   []func()
	steps   int
}

// Start starts all parts of a scenario but for the clients, and returns when Envoy serves. The
// caller must Stop what is returned, also with an error.
func Start(ctx context.Context, s *Scenario, settings Settings) (*Run, error) {
	r := &Run{scenario: s, settings: settings, Figures: s.Figures, ports: make(map[string]string)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	for _, part := range []func() error{r.makeFolder, r.reservePorts, r.issueCertificates, r.startMarathon, r.startRelay, r.startEdges} {
		if err := part(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Stop ends everything and removes the files.
func (r *Run) Stop() {
	r.cancel()
	r.clients.Wait()
	for _, stop := range slices.Backward(r.stops) {
		stop()
	}
}

func (r *Run) onStop(f func()) { r.stops = append(r.stops, f) }

func (r *Run) makeFolder() error {
	dir, err := os.MkdirTemp("", "relay-scenario-")
	if err != nil {
		return err
	}
	r.onStop(func() { _ = os.RemoveAll(dir) })
	r.bed = &testbed.Bed{Dir: dir, RelayBinary: r.settings.RelayBinary, EnvoyBinary: r.settings.EnvoyBinary}
	if r.settings.Verbose {
		r.bed.Terminal = r.settings.Out
	}
	r.Directory = testbed.CertificateDirectory(filepath.Join(dir, "certs"))
	return os.Mkdir(string(r.Directory), 0o700)
}

func (r *Run) reservePorts() error {
	for _, address := range []*string{&r.http, &r.https, &r.admin, &r.bed.XDS, &r.bed.EnvoyAdmin} {
		var err error
		if *address, err = r.reserveAddress(); err != nil {
			return err
		}
	}
	for _, name := range r.scenario.Ports {
		port, release, err := envoytest.ReservePort()
		if err != nil {
			return err
		}
		r.onStop(release)
		r.ports[name] = fmt.Sprint(port)
	}
	return nil
}

// reserveAddress returns a free one until the end.
func (r *Run) reserveAddress() (string, error) {
	port, release, err := envoytest.ReservePort()
	if err != nil {
		return "", err
	}
	r.onStop(release)
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}

func (r *Run) issueCertificates() error {
	var err error
	if r.CA, err = certstest.NewCA(); err != nil {
		return err
	}
	for _, names := range r.scenario.Certificates {
		issued, err := r.CA.Issue(names, certstest.Options{})
		if err == nil {
			err = r.Directory.Put(strings.TrimPrefix(names[0], "*."), issued)
		}
		if err != nil {
			return err
		}
	}
	if r.scenario.Prepare != nil {
		return r.try(r.scenario.Prepare)
	}
	return nil
}

func (r *Run) startMarathon() error {
	var err error
	if r.Marathon, err = marathontest.New(marathontest.Options{Program: r.program}); err != nil {
		return err
	}
	r.onStop(r.Marathon.Close)
	text := string(r.scenario.Apps)
	for name, port := range r.ports {
		text = strings.ReplaceAll(text, "${PORT_"+name+"}", port)
	}
	var apps []json.RawMessage
	if err := json.Unmarshal([]byte(text), &apps); err != nil {
		return fmt.Errorf("the apps of %s: %w", r.scenario.Name, err)
	}
	for _, app := range apps {
		if err := r.Marathon.Apply(string(app)); err != nil {
			return err
		}
	}
	return r.idle()
}

// program returns what the tasks of an app run.
func (r *Run) program(app string) marathontest.Program {
	if p := r.scenario.Programs[app]; p != nil {
		return p
	}
	for id, p := range r.scenario.Programs {
		if prefix, all := strings.CutSuffix(id, "*"); all && strings.HasPrefix(app, prefix) {
			return p
		}
	}
	return nil
}

// idle waits until no deployment runs.
func (r *Run) idle() error {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	return r.Marathon.WaitIdle(ctx)
}

func (r *Run) startRelay() error {
	r.onStop(func() {
		if r.bed.Relay != nil {
			r.bed.Relay.Stop()
		}
	})
	return r.launchRelay()
}

func (r *Run) launchRelay() error {
	r.parts.Lock()
	defer r.parts.Unlock()
	listeners := []string{"--http", r.http, "--https", r.https}
	if len(r.scenario.Edges) > 0 {
		var err error
		if listeners, err = r.writeFleets(); err != nil {
			return err
		}
	}
	return r.bed.StartRelay(slices.Concat([]string{
		"--marathon", r.Marathon.URL(), "--admin", r.admin, "--certs-dir", string(r.Directory), "--state-dir", filepath.Join(r.bed.Dir, "state"),
	}, listeners, r.scenario.Flags)...)
}

// ended says which part has ended by itself; nil if none has.
func (r *Run) ended() error {
	r.parts.Lock()
	defer r.parts.Unlock()
	parts := append([]*testbed.Process{r.bed.Relay}, r.programs...)
	for _, e := range r.edges {
		parts = append(parts, e.bed.Envoy)
	}
	for _, part := range parts {
		if part == nil {
			continue
		}
		select {
		case <-part.Done():
			return part.Ended()
		default:
		}
	}
	return nil
}

// await waits until check is content.
func (r *Run) await(what string, check func() error) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if ended := r.ended(); ended != nil {
			return ended
		}
		select {
		case <-r.ctx.Done():
			return errors.Join(r.ctx.Err(), err)
		case <-timeout.C:
			return fmt.Errorf("waited %s for %s: %w", patience, what, err)
		case <-again.C:
		}
	}
}
