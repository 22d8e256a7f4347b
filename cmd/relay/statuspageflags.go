package main

import "relay/internal/relay"

// StatusPageFlags say what of the public status page there is: flags of the programs that may carry it.
type StatusPageFlags struct {
	StatusPage     string `group:"Monitoring" placeholder:"HOST:PORT" help:"Where the public gets the status page: services and incidents, and nothing internal. Needs --status-page-file."`
	StatusPageFile string `group:"Monitoring" placeholder:"FILE" help:"YAML file with the services of the public status page, and the places that look at them. Read at start."`
	StatusPageDir  string `group:"Monitoring" placeholder:"DIR" help:"Write the public status page there as static files too, for a web server that lives when the edge is down."`
	StatusPageCert string `group:"Monitoring" placeholder:"FILE" help:"PEM certificate (chain) of the public status page; read again when it changes."`
	StatusPageKey  string `group:"Monitoring" placeholder:"FILE" help:"Its private key."`
}

// statusPageConfig is what the flags make of the program.
func (f *StatusPageFlags) statusPageConfig() relay.StatusPage {
	return relay.StatusPage{
		File: f.StatusPageFile, Address: f.StatusPage, Dir: f.StatusPageDir,
		TLS: relay.PortTLS{CertFile: f.StatusPageCert, KeyFile: f.StatusPageKey},
	}
}
