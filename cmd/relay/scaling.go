package main

import (
	"relay/internal/ignored"
	"relay/internal/relay"
	"relay/sources/marathon"
)

// ScalingFlags say whether Relay may change the number of instances of apps, and how it does.
type ScalingFlags struct {
	Scaling bool `group:"Scaling" help:"Relay may change the number of instances of apps that ask for it by their labels: it puts idle ones to sleep (RELAY_IDLE_AFTER), wakes them when a request comes, and adds and removes instances by load (RELAY_SCALE). It also has requests wait for busy apps (RELAY_{n}_CONCURRENCY). Without it Relay never writes to Marathon."`

	ScalingUser               string `group:"Scaling" name:"scaling-marathon-user" placeholder:"NAME" help:"Write to Marathon as this user, in place of the one who reads."`
	ScalingPasswordFile       string `group:"Scaling" name:"scaling-marathon-password-file" placeholder:"FILE" help:"File with the user's password, read again when it changes."`
	ScalingTokenFile          string `group:"Scaling" name:"scaling-marathon-token-file" placeholder:"FILE" help:"File with a DC/OS token for writing, read again when it changes."`
	ScalingServiceAccountFile string `group:"Scaling" name:"scaling-marathon-service-account-file" placeholder:"FILE" help:"File with the secret of a DC/OS service account for writing."`

	WakeWaiting      int     `group:"Scaling" default:"2000" placeholder:"N" help:"How many requests wait for one app that is woken, at most (default ${default}). The next are told to come again."`
	WakeWaitingInAll int     `group:"Scaling" name:"wake-waiting-in-all" default:"20000" placeholder:"N" help:"How many requests wait for all apps together (default ${default}). Each takes up to 100 kB, mostly of Envoy."`
	WakeRate         float64 `group:"Scaling" default:"20" placeholder:"N" help:"How many apps are woken a second, at most (default ${default}). The networks of clients take turns, so that a crawler keeps nobody else waiting."`

	IdleIgnore []string `group:"Scaling" placeholder:"CLIENT" help:"Clients that neither wake an app nor count as use of it, such as uptime checkers: a network (10.0.0.0/8), an address, or else a text that is in their User-Agent, in upper or lower case."`

	Peers          []string `group:"Scaling" placeholder:"URL" help:"The admin endpoints of the other Relays of the same Envoys. An app sleeps only if each of them says that nobody uses it, and the load is counted over all."`
	PeersTokenFile string   `group:"Scaling" placeholder:"FILE" help:"File with the token for the peers' admin endpoints, read again when it changes."`
	PeersCAFile    string   `group:"Scaling" name:"peers-ca-file" placeholder:"FILE" help:"PEM file with the authorities trusted for https:// addresses of peers, in place of the system's."`
}

// scalingConfig is what the flags make of the program. Marathon is how it is read.
func (f *ScalingFlags) scalingConfig(read marathon.Config) relay.Scaling {
	read.Write = marathon.Credentials{
		User: f.ScalingUser, PasswordFile: f.ScalingPasswordFile, TokenFile: f.ScalingTokenFile, ServiceAccountFile: f.ScalingServiceAccountFile,
	}
	clients, _ := ignored.Parse(f.IdleIgnore) // validated
	return relay.Scaling{
		Ignored: clients,
		Enabled: f.Scaling, Marathon: read,
		WaitingPerApp: f.WakeWaiting, WaitingInAll: f.WakeWaitingInAll, WakeRate: f.WakeRate,
		Peers: relay.Peers{URLs: f.Peers, TokenFile: f.PeersTokenFile, CAFile: f.PeersCAFile},
	}
}
