// Command relay is an Envoy control plane for Marathon: see relay --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/alecthomas/kong"

	"relay/internal/relay"
)

// cli is the command line.
type cli struct {
	Config configFlag `short:"c" placeholder:"FILE" help:"YAML file with any of the settings below, by the same names, and the list of fleets."`

	Serve     serveCmd     `cmd:"" help:"Watch Marathon and certificates, and keep Envoys up to date."`
	Check     checkCmd     `cmd:"" help:"Say what is wrong with a configuration: files, apps, whether Marathon and Vault can be read."`
	Compare   compareCmd   `cmd:"" help:"Say what Relay does differently from a marathon-lb, by rules and by answers."`
	Probe     probeCmd     `cmd:"" help:"Ask through every Envoy of running Relays, as users and devices do, and show what fails."`
	Bootstrap bootstrapCmd `cmd:"" help:"Print the bootstrap for an Envoy, or write it to a directory."`

	Status      statusCmd      `cmd:"" help:"Say whether all is well with a running Relay and its Envoys, and where to look if not."`
	Domain      domainCmd      `cmd:"" help:"Say whether a domain is served, and why: from the labels to each Envoy, with its last failures."`
	App         appCmd         `cmd:"" help:"Show one app: its labels, instances, traffic, Envoys, last failures and last changes."`
	Explain     explainCmd     `cmd:"" help:"Say how a running Relay routes a domain or an app, and why: from the labels to each Envoy."`
	Problems    problemsCmd    `cmd:"" help:"List what is ignored or does not work, the worst first, each with what to do."`
	Apps        appsCmd        `cmd:"" help:"List apps, or show one."`
	Domains     domainsCmd     `cmd:"" help:"List domains, or show one."`
	Envoys      envoysCmd      `cmd:"" help:"List Envoys and how far each is, or show one."`
	Certs       certsCmd       `cmd:"" help:"List certificates, or show one."`
	Authorities authoritiesCmd `cmd:"" help:"List the authorities of clients of TCP services."`
	Changes     changesCmd     `cmd:"" help:"List what was published to Envoys, and why, the newest first."`
	Failures    failuresCmd    `cmd:"" help:"List requests that no app answered, and why, the newest first."`
	Deployment  deploymentCmd  `cmd:"" help:"List deployment groups, show one, or move it to its new app step by step, and back."`
	Incident    incidentCmd    `cmd:"" help:"List incidents and maintenance of the public status page, publish one, or add to it."`
	Watch       watchCmd       `cmd:"" help:"Show changes, failures and problems as they come, until it is interrupted."`
	Tail        tailCmd        `cmd:"" help:"Show the requests of an app or a domain as they end, until it is interrupted."`
	Diff        diffCmd        `cmd:"" help:"Show what the last change of an app changed in Envoy's resources."`
	ConfigDump  configDumpCmd  `cmd:"" help:"Print the resources of a fleet as Envoy's /config_dump does, secrets masked."`

	Version  versionCmd  `cmd:"" help:"Print the version."`
	Complete completeCmd `cmd:"" name:"__complete" hidden:"" help:"Print names for the completion of shells."`
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := newParser(&c,
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { code = status }),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "relay:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err != nil && slices.Contains(args, "--nagios") {
		fmt.Fprintln(stdout, nagiosText(levelUnknown, err.Error()))
		return int(levelUnknown)
	}
	if err != nil {
		fmt.Fprintln(stderr, "relay:", err)
		return 2
	}
	err = parsed.Run(streams{stdout, stderr})
	if own, ok := errors.AsType[exitStatus](err); ok {
		if own.error != nil { // otherwise all is said
			fmt.Fprintln(stderr, "relay:", err)
		}
		return own.status
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "relay:", err)
		return 1
	}
	return 0
}

func newParser(c *cli, options ...kong.Option) (*kong.Kong, error) {
	var parser *kong.Kong
	settings := func() []string { return settingNames(parser.Model) }
	parser, err := kong.New(c, append([]kong.Option{
		kong.Name("relay"),
		kong.Description("Relay keeps Envoys up to date with the apps of Marathon and their certificates."),
		kong.DefaultEnvars("RELAY"),
		addressMapper(),
		networkMapper(),
		kong.Configuration(loadConfigFile(func(fleets []FleetSettings) {
			c.Serve.Fleets, c.Check.Fleets, c.Compare.Fleets = fleets, fleets, fleets
		}, settings)),
		durationMapper(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	}, options...)...)
	return parser, err
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

type serveCmd struct {
	Flags `embed:""`
}

// Run serves until the context ends.
func (s *serveCmd) Run(ctx context.Context, out streams) error {
	config, err := s.withEnvironment()
	if err != nil {
		return err
	}
	r, err := relay.New(config, s.logger(out.err))
	if err != nil {
		return err
	}
	return r.Serve(ctx)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "relay", version())
	return err
}

// build is set by make build.
var build string

func version() string {
	if build != "" {
		return build
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
