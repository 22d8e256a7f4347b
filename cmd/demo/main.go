// Command demo shows Relay's main job on one machine: a simulated Marathon
// with apps whose tasks are real HTTP servers, certificates, the real relay
// binary and a real Envoy. Everything listens on 127.0.0.1.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"relay/internal/testbed"
	"relay/xds/envoytest"
)

// options is the command line.
type options struct {
	Scenario string `placeholder:"NAME" help:"Run a scenario in place of the usual demo, with live figures; all its ports are free ones. They are in testdata/scenarios."`
	Stories  bool   `help:"Tell the stories of all scenarios, or of the one named, and end."`

	Certs string `default:"dir" enum:"dir,vault" help:"Where certificates are kept: dir (PEM files) or vault (a real Vault)."`

	HTTP       uint16 `name:"http" placeholder:"PORT" default:"10080" help:"Envoy, HTTP. Default: ${default}."`
	HTTPS      uint16 `name:"https" placeholder:"PORT" default:"10443" help:"Envoy, HTTPS. Default: ${default}."`
	Marathon   uint16 `placeholder:"PORT" default:"8080" help:"The simulated Marathon. Default: ${default}."`
	Renew      uint16 `placeholder:"PORT" default:"8089" help:"Renewal of certificates, in place of marathon-acme, and the switch of the demo's own traffic. Default: ${default}."`
	Admin      uint16 `placeholder:"PORT" default:"9090" help:"Relay's status page, hooks and metrics. Default: ${default}."`
	XDS        uint16 `name:"xds" placeholder:"PORT" default:"18000" help:"Where Envoy connects to Relay. Default: ${default}."`
	EnvoyAdmin uint16 `name:"envoy-admin" placeholder:"PORT" default:"9901" help:"Envoy's own admin endpoint. Default: ${default}."`

	Relay   string `placeholder:"FILE" help:"The relay binary. Default: the one beside this program."`
	Envoy   string `placeholder:"FILE" help:"The Envoy binary. Default: the one that make tools sets up."`
	Traffic bool   `negatable:"" default:"true" help:"Send a little traffic, and deploy an app now and then."`
	Verbose bool   `short:"v" help:"Show the logs of Relay and Envoy here too."`
}

func main() {
	var o options
	kong.Parse(&o,
		kong.Name("demo"),
		kong.Description("Runs a simulated Marathon, certificates, Relay and Envoy on 127.0.0.1, and says what to try. Ctrl-C ends it. All PORTs are of 127.0.0.1."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// A closed pipe on standard output must not end the program before it has
	// removed its files.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		awaitHangup(ctx, os.Stdout)
		cancel()
	}()
	if err := o.run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// awaitHangup returns when the terminal, or who reads the pipe, is gone, or
// when ctx ends. A signal alone would not do: make gets that of a terminal that
// goes away, and then waits for its children.
func awaitHangup(ctx context.Context, f *os.File) {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(f.Fd())}}
		if n, err := unix.Poll(fds, 500); n > 0 && err == nil {
			return // nothing was asked for, so it is POLLHUP or POLLERR
		}
	}
}

// run finds what is needed, checks that nothing stands in the way, and runs
// the demo in a temporary folder.
func (o *options) run(ctx context.Context) error {
	if err := o.findBinaries(); err != nil {
		return err
	}
	if o.Scenario != "" || o.Stories {
		return o.runScenarios(ctx, os.Stdout)
	}
	if err := o.checkPorts(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "relay-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d := &demo{options: *o, dir: dir, out: os.Stdout}
	d.bed = &testbed.Bed{
		Dir: dir, RelayBinary: o.Relay, EnvoyBinary: o.Envoy, XDS: local(o.XDS), EnvoyAdmin: local(o.EnvoyAdmin), Terminal: d.terminal(),
	}
	defer d.stop()
	if err := d.start(ctx); err != nil {
		return err
	}
	return d.wait(ctx)
}

func (o *options) findBinaries() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Relay = cmp.Or(o.Relay, filepath.Join(filepath.Dir(self), "relay"))
	if _, err := os.Stat(o.Relay); err != nil {
		return fmt.Errorf("no relay binary: %w: run make build, or give --relay FILE", err)
	}
	if o.Envoy == "" {
		if o.Envoy, err = envoytest.Find(); err != nil {
			return fmt.Errorf("%w, or give --envoy FILE", err)
		}
	}
	return nil
}
