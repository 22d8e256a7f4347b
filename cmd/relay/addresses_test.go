package main

import (
	"strings"
	"testing"
)

// A wrong address is refused with the setting that has it, and what to write instead.
func TestWrongAddresses(t *testing.T) {
	tests := []struct {
		name, variable, value string
		args                  []string
		file, want            string
	}{
		{name: "no IP address", args: []string{"--https", ":443"}, want: `--https: ":443" has no IP address: write 0.0.0.0:443`},
		{name: "a port alone", args: []string{"--http", "8080"}, want: "--http: \"8080\" has no IP address: write 0.0.0.0:8080"},
		{name: "any", args: []string{"--http", "*:80"}, want: "write 0.0.0.0:80"},
		{name: "localhost", args: []string{"--http", "localhost:80"}, want: "write 127.0.0.1:80"},
		{name: "a name", args: []string{"--http", "edge.test:80"}, want: "or 0.0.0.0:80 for all interfaces"},
		{name: "no port", args: []string{"--https", "1.2.3.4"}, want: "has no port: write 1.2.3.4:443"},
		{name: "no port, IPv6", args: []string{"--health", "::1"}, want: "has no port: write [::1]:9091"},
		{name: "a URL", args: []string{"--http", "http://1.2.3.4:80/"}, want: "write 1.2.3.4:80"},
		{name: "no such port", args: []string{"--http", "1.2.3.4:70000"}, want: `"70000" is none`},
		{name: "no such address", args: []string{"--health", "1.2.3.400:80"}, want: "--health"},
		{name: "Envoy's variable", variable: "RELAY_HTTPS", value: ":443", want: "from envar RELAY_HTTPS"},
		{name: "a fleet", file: "marathon: http://m\nfleets:\n- name: a\n  http: ':80'\n", want: `relay.yaml:4: http: ":80" has no IP address: write 0.0.0.0:80`},
		{name: "a fleet's number", file: "marathon: http://m\nfleets:\n- name: a\n  http: 80\n", want: "relay.yaml:4: http: \"80\" has no IP address: write 0.0.0.0:80"},

		{name: "xds without a port", args: []string{"--xds", "localhost"}, want: `--xds (RELAY_XDS): "localhost" has no port: write localhost:18000`},
		{name: "admin a port alone", args: []string{"--admin", "9090"}, want: "write 127.0.0.1:9090"},
		{name: "admin a URL", args: []string{"--admin", "http://127.0.0.1:9090"}, want: "write 127.0.0.1:9090"},
		{name: "admin a URL by the variable", variable: "RELAY_ADMIN", value: "http://127.0.0.1:9090", want: "a URL in RELAY_ADMIN is for the commands that ask a running Relay: unset it for this one"},
		{name: "admin IPv6", args: []string{"--admin", "::1"}, want: "write [::1]:9090"},
		{name: "xds no such port", args: []string{"--xds", "127.0.0.1:70000"}, want: "from 0 to 65535"},
		{name: "xds empty", args: []string{"--xds", ""}, want: "--xds (RELAY_XDS)"},
		{name: "xds empty port", args: []string{"--xds", "127.0.0.1:"}, want: "write 127.0.0.1:18000"},
		{name: "one port", args: []string{"--xds", "127.0.0.1:9090"}, want: "are the same port"},
		{name: "one port by name", args: []string{"--xds", "localhost:9090"}, want: "are the same port"},
		{name: "one port of all", args: []string{"--admin", ":18000", "--admin-insecure-open-beyond-loopback"}, want: "are the same port"},

		{name: "any port", args: []string{"--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0"}},
		{name: "two addresses", args: []string{"--xds", "127.0.0.1:9090", "--admin", "127.0.0.2:9090"}},
		{name: "IPv6", args: []string{"--http", "[::]:80", "--health", "[::1]:81", "--xds", "[::1]:1"}},
		{name: "none", args: []string{"--https", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if tt.variable != "" {
				t.Setenv(tt.variable, tt.value)
			}
			if tt.file == "" {
				args = append([]string{"--marathon", "http://m"}, args...)
			}
			_, err := parse(t, tt.file, args...)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
