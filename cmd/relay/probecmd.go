package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/relay"
	"relay/internal/terminal"
	"relay/probe"
)

type probeCmd struct {
	Relay      []string `group:"Relays to ask" name:"relay" required:"" placeholder:"URL" help:"The admin endpoints of the Relays that say what to ask. While one is away, what it said last is asked."`
	TokenFile  string   `group:"Relays to ask" name:"token-file" placeholder:"FILE" help:"File with the token that they ask for; read again after a failure."`
	CAFile     string   `group:"Relays to ask" name:"ca-file" placeholder:"FILE" help:"PEM file with the authorities trusted for their certificates. Default: those of the system."`
	ClientCert string   `group:"Relays to ask" name:"client-cert" placeholder:"FILE" help:"PEM certificate (chain) to show to them."`
	ClientKey  string   `group:"Relays to ask" name:"client-key" placeholder:"FILE" help:"Its private key."`

	ProbeFile  string `group:"Monitoring" placeholder:"FILE" help:"YAML file with the settings of probes: how often, at which rate, a sample of the domains, virtual devices. Read at start."`
	ProbePlace string `group:"Monitoring" placeholder:"NAME" help:"The name of where it is asked from. Default: that in the file, or of the machine."`
	Once       bool   `help:"Ask each target once, print what failed, and end: with 1 if anything did."`

	Listen          string `group:"Server" placeholder:"HOST:PORT" help:"Where Prometheus, people and status pages get what was found: /metrics, /healthz, /api/v1/probes."`
	ListenCert      string `group:"Server" placeholder:"FILE" help:"PEM certificate (chain) of --listen; read again when it changes."`
	ListenKey       string `group:"Server" placeholder:"FILE" help:"Its private key."`
	ListenTokenFile string `group:"Server" placeholder:"FILE" help:"Let in clients that show the token in this file; read again when it changes."`
	ListenOpen      bool   `group:"Server" name:"listen-insecure-open-beyond-loopback" help:"Show it to everyone on other addresses than loopback."`

	StatusPageFlags `embed:""`
	StateDir        string `group:"Monitoring" placeholder:"PATH" help:"Where the history and the incidents of the status page are kept."`

	OutputFlags `embed:""`
	LogLevel    string `group:"Server" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat   string `group:"Server" default:"text" enum:"text,json,ecs" help:"text, json, or ecs: JSON with the names of the Elastic Common Schema."`
}

// Run asks until it is interrupted, or once. On a terminal it shows what fails.
func (c *probeCmd) Run(ctx context.Context, out streams) error {
	config := c.config()
	if err := config.Validate(); err != nil {
		return exitStatus{err, statusUsage}
	}
	warnExposed(c.TokenFile, out.err)
	p, screen := c.printer(out), c.printer(out).screen
	log := (&LogFlags{LogLevel: c.LogLevel, LogFormat: c.LogFormat}).logger(out.err)
	live := !c.Once && screen.Width > 0 && c.Output == "table"
	if live || c.Once { // the log would be in between; what it says is on the screen
		log = slog.New(slog.DiscardHandler)
	}
	program, err := relay.NewProbeProgram(config, log)
	if err != nil {
		return exitStatus{err, statusUsage}
	}
	if c.Once {
		return c.once(ctx, program, p, out)
	}
	if live {
		go showProbes(ctx, p, program, strings.Join(c.Relay, ", "))
	}
	return program.Serve(ctx)
}

func (c *probeCmd) config() relay.ProbeConfig {
	config := relay.ProbeConfig{
		Version: version(), Probes: relay.Probes{Enabled: true, File: c.ProbeFile, Place: c.ProbePlace}, StatusPage: c.statusPageConfig(),
		Port: relay.AdminPort{Address: c.Listen, TLS: relay.PortTLS{CertFile: c.ListenCert, KeyFile: c.ListenKey}, TokenFile: c.ListenTokenFile, Open: c.ListenOpen},
	}
	config.StatusPage.StateDir = c.StateDir
	for _, address := range c.Relay {
		config.Relays = append(config.Relays, client.Settings{Address: address, TokenFile: c.TokenFile, CA: c.CAFile, Cert: c.ClientCert, Key: c.ClientKey})
	}
	return config
}

// once prints what failed.
func (c *probeCmd) once(ctx context.Context, program *relay.ProbeProgram, p printer, out streams) error {
	found, err := program.Once(ctx)
	if err != nil && found.Probes == nil {
		return withStatus(err)
	}
	terminal.CleanAll(&found)
	body, encodeErr := json.MarshalIndent(found, "", "  ")
	if encodeErr != nil {
		return encodeErr
	}
	if printErr := p.print(append(body, '\n'), func() { p.probesOnce(found, c.Relay[0]) }); printErr != nil {
		return printErr
	}
	switch {
	case err != nil: // of some Relays
		return withStatus(err)
	case found.Failing > 0:
		return exitStatus{nil, statusWrong}
	case found.OK+found.Skipped == 0:
		return errors.New("there is nothing to ask: no Envoy is known, or no app has RELAY_{n}_PROBE and the settings ask for no sample, device or target")
	}
	return nil
}

// probesOnce shows what failed, with the command that says why.
func (p printer) probesOnce(found api.Probes, relay string) {
	for _, one := range found.Probes {
		if one.Success || one.Skipped != "" {
			continue
		}
		p.line("%s %s", p.screen.Styled(terminal.Red, "failed"), probeTitle(one))
		p.screen.Paragraph("  ", one.Reason)
		for _, step := range one.Steps {
			p.line("  %-22s %8s  %s", step.Name, seconds(step.Duration), stepText(step))
		}
		if one.Explain != "" {
			p.line("  why: %s --admin %s", explainCommand(one), relay)
		}
	}
	p.line("%s", probesSummary(found))
}

func explainCommand(one api.Probe) string {
	if one.Domain != "" {
		return "relay domain " + one.Domain
	}
	return "relay app " + one.App
}

func probeTitle(one api.Probe) string {
	through := ""
	if one.Envoy != "" {
		through = " through " + one.Fleet + "/" + one.Envoy
	}
	return fmt.Sprintf("%s (%s)%s", one.Name, one.Kind, through)
}

func stepText(step api.ProbeStep) string {
	if step.OK {
		return "ok"
	}
	return step.Seen
}

func probesSummary(found api.Probes) string {
	return fmt.Sprintf("from %s: %d succeeded, %d failed, %d were not asked", found.Place, found.OK, found.Failing, found.Skipped)
}

// shownProbes is how many are on a screen at most.
const shownProbes = 1000

func latestProbes(program *relay.ProbeProgram) api.Probes {
	found := program.Found(probe.Query{Limit: shownProbes})
	terminal.CleanAll(&found)
	return found
}
