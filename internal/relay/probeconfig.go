package relay

import (
	"errors"
	"fmt"

	"relay/admin/client"
)

// ProbeConfig is what a program can be told that asks from outside, away from any Relay. Errors name its flags.
type ProbeConfig struct {
	Version string
	Probes  Probes
	// Relays say what to ask.
	Relays []client.Settings
	// Port is where people, Prometheus and status pages connect; its Address is empty for nowhere.
	Port       AdminPort
	StatusPage StatusPage
}

// Validate says what is missing or does not go together.
func (c *ProbeConfig) Validate() error {
	errs := []error{c.Port.TLS.validate("listen"), c.StatusPage.Validate()}
	c.Probes.Enabled = true
	errs = append(errs, c.Probes.validate())
	if c.Port.Address == "" {
		if c.Port.TokenFile != "" || c.Port.TLS.enabled() {
			errs = append(errs, errors.New("--listen-token-file and --listen-cert have an effect with --listen only"))
		}
		return errors.Join(errs...)
	}
	if err := checkAddress(c.Port.Address, "9116"); err != nil {
		errs = append(errs, fmt.Errorf("--listen: %w", err))
	}
	guarded := c.Port.TLS.CertFile != "" && (c.Port.TLS.ClientCAFile != "" || c.Port.TokenFile != "")
	if !loopback(c.Port.Address) && !guarded && !c.Port.Open {
		errs = append(errs, fmt.Errorf("--listen %s is reachable beyond this machine, and shows apps and addresses: "+
			"give --listen-cert and --listen-key with --listen-token-file, or --listen-insecure-open-beyond-loopback", c.Port.Address))
	}
	return errors.Join(errs...)
}
