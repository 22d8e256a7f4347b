// Package envoytest runs a real Envoy against an xDS server of this process.
// "make tools" puts the pinned binaries where it looks.
package envoytest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"relay/deploy"
)

// Options describe the Envoy to run.
type Options struct {
	// Binary is found by FindVersion when empty.
	Binary string
	// Version is one of Versions; Newest when empty.
	Version string
	// Dir takes the bootstrap and Envoy's files; the caller removes it.
	Dir string
	// NodeID and Fleet name the Envoy; "envoy" and "external" when empty.
	NodeID, Fleet string
	// XDS are the xDS server's addresses.
	XDS []string
	// ClustersOnDemand is as in deploy.Bootstrap.
	ClustersOnDemand bool
	// TLS is as in deploy.Bootstrap.
	TLS deploy.ClientTLS
	// Limits is as in deploy.Bootstrap.
	Limits deploy.Limits
	// StatsD is as in deploy.Bootstrap.
	StatsD deploy.StatsD
	// AccessLog is as in deploy.Bootstrap.
	AccessLog string
	// OlderBootstrap leaves out what bootstraps have for queues, and of the node's metadata.
	OlderBootstrap bool
	// Bootstrap, when set, is used as it is, in place of the ten above. Its
	// admin endpoint must listen on port 0 of 127.0.0.1.
	Bootstrap []byte
	// Workers is how many worker threads Envoy has; 2 if it is 0.
	Workers int
	// BaseID, when it is not 0, has the Envoy hand over to the next one with the same BaseID and the next
	// RestartEpoch (a hot restart). Envoys that run at the same time, and do not hand over, need
	// different ones.
	BaseID, RestartEpoch int
	// Args are added to Envoy's command line.
	Args []string
	// Log takes what Envoy prints; nil keeps it for Envoy.Log only.
	Log io.Writer
}

// Envoy is a running Envoy process.
type Envoy struct {
	// Admin is the address of its admin endpoint.
	Admin string

	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	log  bytes.Buffer
	tee  io.Writer
}

// Launch starts an Envoy and returns once its admin endpoint listens. It does
// not wait for Envoy to be ready: see WaitReady.
func Launch(ctx context.Context, o Options) (*Envoy, error) {
	binary := o.Binary
	if binary == "" {
		var err error
		if binary, err = FindVersion(cmp.Or(o.Version, Newest)); err != nil {
			return nil, err
		}
	}
	config, err := o.writeBootstrap()
	if err != nil {
		return nil, err
	}
	adminPath := filepath.Join(o.Dir, "admin-address")
	if err := os.RemoveAll(adminPath); err != nil {
		return nil, err
	}
	args := append([]string{
		"--config-path", config, "--admin-address-path", adminPath,
		"--concurrency", strconv.Itoa(cmp.Or(o.Workers, 2)), "--log-level", "warning",
	}, o.Args...)
	if o.BaseID == 0 {
		args = append(args, "--disable-hot-restart")
	} else {
		args = append(args, "--base-id", strconv.Itoa(o.BaseID), "--restart-epoch", strconv.Itoa(o.RestartEpoch))
	}
	if !slices.Contains(o.Args, "--drain-time-s") {
		args = append(args, "--drain-time-s", "2")
	}
	e := &Envoy{cmd: exec.Command(binary, args...), done: make(chan struct{}), tee: o.Log}
	e.cmd.Stdout, e.cmd.Stderr = e, e
	// No Envoy outlives a test binary that is killed. A process group of its
	// own keeps a terminal's Ctrl-C from ending it before its parent does.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Envoy: %w", err)
	}
	go func() {
		_ = e.cmd.Wait()
		close(e.done)
	}()
	if err := e.waitAdmin(ctx, adminPath); err != nil {
		e.Kill()
		return nil, fmt.Errorf("%w; Envoy said:\n%s", err, e.Log())
	}
	return e, nil
}

// writeBootstrap returns the path of the bootstrap.
func (o Options) writeBootstrap() (string, error) {
	if o.Bootstrap != nil {
		path := filepath.Join(o.Dir, "envoy.yaml")
		return path, os.WriteFile(path, o.Bootstrap, 0o600)
	}
	path, err := deploy.Bootstrap{
		NodeID: cmp.Or(o.NodeID, "envoy"), Fleet: cmp.Or(o.Fleet, "external"), XDS: o.XDS,
		Admin: netip.MustParseAddrPort("127.0.0.1:0"), ClustersOnDemand: o.ClustersOnDemand, TLS: o.TLS, Limits: o.Limits, StatsD: o.StatsD, AccessLog: o.AccessLog,
	}.Write(o.Dir)
	if err != nil || !o.OlderBootstrap {
		return path, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return path, err
	}
	older, _, _ := strings.Cut(string(text), "# Before each request to an app with a queue")
	before, rest, _ := strings.Cut(older, "  metadata:\n")
	_, after, _ := strings.Cut(rest, "\nadmin:")
	return path, os.WriteFile(path, []byte(before+"\nadmin:"+after), 0o600)
}

func (e *Envoy) waitAdmin(ctx context.Context, path string) error {
	return poll(ctx, func() error {
		select {
		case <-e.done:
			return permanent{errors.New("Envoy ended at start")}
		default:
		}
		address, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// Envoy makes the file before it writes to it.
		if _, err := netip.ParseAddrPort(string(address)); err != nil {
			return err
		}
		e.Admin = string(address)
		return nil
	})
}

// Write takes Envoy's output.
func (e *Envoy) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.Write(p)
	if e.tee != nil {
		return e.tee.Write(p)
	}
	return len(p), nil
}

// Log returns what Envoy printed so far.
func (e *Envoy) Log() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.String()
}

// Pid is the process id.
func (e *Envoy) Pid() int { return e.cmd.Process.Pid }

// Done is closed when the process has ended.
func (e *Envoy) Done() <-chan struct{} { return e.done }

// Kill ends Envoy at once and waits until it is gone.
func (e *Envoy) Kill() {
	_ = e.cmd.Process.Kill()
	<-e.done
}

// Stop ends Envoy as an operator would, and kills it after a few seconds.
func (e *Envoy) Stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.done:
	case <-time.After(5 * time.Second):
		e.Kill()
	}
}

// Get reads a path of Envoy's admin endpoint.
func (e *Envoy) Get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return string(body), nil
}

// WaitReady returns when Envoy serves: it has its clusters and listeners.
func (e *Envoy) WaitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		_, err := e.Get(ctx, "/ready")
		return err
	})
}

// Stats returns the counters and gauges whose name matches the pattern.
func (e *Envoy) Stats(ctx context.Context, pattern *regexp.Regexp) (map[string]int64, error) {
	text, err := e.Get(ctx, "/stats")
	if err != nil {
		return nil, err
	}
	stats := make(map[string]int64)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		if !ok || !pattern.MatchString(name) {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			stats[name] = n
		}
	}
	return stats, nil
}

type permanent struct{ error }

// poll tries until try succeeds, ctx ends or try fails for good.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || errors.As(err, &permanent{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
