package main

import (
	"strings"
	"testing"
)

// Settings of the one fleet have no effect beside fleets, and are refused there.
func TestFleetSettingsBesideFleets(t *testing.T) {
	const fleets = "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80'}\n"
	tests := []struct {
		name, file    string
		variable, set string
		args          []string
		want          string
	}{
		{name: "flag", file: fleets, args: []string{"--https", "1.1.1.1:443"}, want: "--https belongs under fleets: the configuration file has fleets, so write https: there"},
		{name: "flag with the default", file: fleets, args: []string{"--http", "0.0.0.0:80"}, want: "--http belongs under fleets"},
		{name: "variable", file: fleets, variable: "RELAY_CLUSTERS", set: "on-demand", want: "RELAY_CLUSTERS in the environment belongs under fleets"},
		{name: "flag and variable", file: fleets, args: []string{"--tcp", "off"}, variable: "RELAY_TCP", set: "all", want: "--tcp belongs under fleets"},
		{name: "key", file: fleets + "tcp: all\n", want: "tcp at the top of the configuration file belongs under fleets"},
		{name: "name", file: fleets, args: []string{"--fleet", "b"}, want: "write name: there"},
		{name: "clients", file: fleets, args: []string{"--xds-clients", "b"}, want: "write clients: there"},
		{name: "proxies", file: fleets + "trusted-proxies: 10.0.0.0/8\n", want: "trusted-proxies at the top"},
		{name: "authorities", file: fleets + "client-ca: /ca.pem\n", want: "client-ca at the top"},
		{name: "for all fleets", file: fleets + "connect-timeout: 1s\ntcp-reserved-ports: [80]\n", args: []string{"--retries", "1"}},
		{name: "one fleet", file: "marathon: http://m\ntcp: all\n", args: []string{"--http", "1.1.1.1:80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.variable != "" {
				t.Setenv(tt.variable, tt.set)
			}
			_, err := parse(t, tt.file, tt.args...)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Every key of a fleet but server-names has a setting for the one fleet.
func TestFleetKeysHaveSettings(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{"server-names": true}
	for _, flag := range allFlags(testParser(t).Model) {
		keys[keyInFleets(flag.Name)] = true
	}
	for _, key := range fleetKeys {
		if !keys[key] {
			t.Errorf("no setting is for %s: of fleets", key)
		}
	}
}
