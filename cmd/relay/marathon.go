package main

import (
	"net/netip"
	"time"

	"relay/sources/marathon"
)

// MarathonFlags say where Marathon is and how to log in to it.
type MarathonFlags struct {
	Marathon             []string      `group:"Applications" placeholder:"URL" help:"Marathon's addresses; one is used, the others are for when it fails. Userinfo in the first form of a URL (http://user:password@host) is sent as basic authentication."`
	MarathonTrustedHosts []string      `group:"Applications" placeholder:"HOST" help:"Further hosts that may be sent the credentials when Marathon redirects to its leader, or names it."`
	MarathonSyncInterval time.Duration `group:"Applications" default:"5m" help:"Time between full reads, which heal events that were lost."`

	MarathonUser               string `group:"Applications" placeholder:"NAME" help:"Log in to Marathon by basic authentication as this user."`
	MarathonPasswordFile       string `group:"Applications" placeholder:"FILE" help:"File with the user's password, read again when it changes."`
	MarathonTokenFile          string `group:"Applications" placeholder:"FILE" help:"File with a DC/OS token, read again when it changes."`
	MarathonServiceAccountFile string `group:"Applications" placeholder:"FILE" help:"File with the secret of a DC/OS service account: JSON with uid, private_key, login_endpoint."`

	MarathonCAFile                string `group:"Applications" name:"marathon-ca-file" placeholder:"FILE" type:"existingfile" help:"PEM file with the authorities trusted for https:// addresses of Marathon, in place of the system's."`
	MarathonClientCertFile        string `group:"Applications" placeholder:"FILE" help:"PEM file of the certificate shown to Marathon, read again for each connection."`
	MarathonClientKeyFile         string `group:"Applications" placeholder:"FILE" help:"Its private key."`
	MarathonInsecureSkipTLSVerify bool   `group:"Applications" name:"marathon-insecure-skip-tls-verify" help:"Accept any certificate of Marathon. Whoever is on the way gets the credentials and decides what is routed."`

	MarathonContainerAddress  string         `group:"Applications" default:"auto" enum:"auto,ip,host" help:"Where tasks on container networks are reached: ip, their own address; host, the agent's port; auto, the first of these that there is."`
	MarathonContainerNetworks []netip.Prefix `group:"Applications" placeholder:"CIDR" help:"Use addresses of tasks on container networks from these networks only."`
	MarathonPreferIPv6        bool           `group:"Applications" name:"marathon-prefer-ipv6" env:"RELAY_MARATHON_PREFER_IPV6" help:"Prefer IPv6 where a task or agent has both."`
	MarathonUnreachable       string         `group:"Applications" default:"degraded" enum:"degraded,keep,drop" help:"Tasks whose agent was lost get requests when too few others are left (degraded), as before (keep), or none (drop)."`
	MarathonPods              bool           `group:"Applications" help:"Route pods as well as apps."`
}

func (f *MarathonFlags) marathonConfig() marathon.Config {
	return marathon.Config{
		URLs: f.Marathon, TrustedHosts: f.MarathonTrustedHosts, SyncInterval: f.MarathonSyncInterval,
		User: f.MarathonUser, PasswordFile: f.MarathonPasswordFile,
		TokenFile: f.MarathonTokenFile, ServiceAccountFile: f.MarathonServiceAccountFile,
		CAFile: f.MarathonCAFile, ClientCertFile: f.MarathonClientCertFile, ClientKeyFile: f.MarathonClientKeyFile,
		InsecureSkipTLSVerify: f.MarathonInsecureSkipTLSVerify,
		ContainerAddress:      marathon.ContainerAddress(f.MarathonContainerAddress), ContainerNetworks: f.MarathonContainerNetworks,
		PreferIPv6: f.MarathonPreferIPv6, Unreachable: marathon.Unreachable(f.MarathonUnreachable), Pods: f.MarathonPods,
	}
}
