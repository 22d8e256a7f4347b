package labels

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/sources"
)

func TestTCP(t *testing.T) {
	t.Parallel()
	type settings map[string]string
	tests := []struct {
		name     string
		settings settings
		http     bool
		want     *sources.TCP
		problems []string
	}{
		{name: "none", want: &sources.TCP{Port: 10001, Implicit: true}},
		{name: "HTTP", http: true},
		{name: "mode", settings: settings{"MODE": " TCP "}, http: true, want: &sources.TCP{Port: 10001}},
		{name: "mode http", settings: settings{"MODE": "http", "PORT": "80", "BIND_ADDR": "*", "TLS_PASSTHROUGH": "true"}, problems: []string{"BIND_ADDR: is not supported", "PORT", "TLS_PASSTHROUGH"}},
		{name: "unknown mode", settings: settings{"MODE": "udp"}, want: &sources.TCP{Port: 10001, Implicit: true}, problems: []string{"http or tcp"}},
		{name: "empty values", settings: settings{"MODE": "", "PORT": " ", "BIND_ADDR": "", "BIND_OPTIONS": "", "TLS_PASSTHROUGH": ""}, want: &sources.TCP{Port: 10001, Implicit: true}},
		{name: "port", settings: settings{"PORT": " 5432 "}, want: &sources.TCP{Port: 5432}},
		{name: "bad port", settings: settings{"MODE": "tcp", "PORT": "65536"}, want: &sources.TCP{}, problems: []string{"not opened"}},
		{name: "port 0", settings: settings{"PORT": "0"}, want: &sources.TCP{}, problems: []string{"not opened"}},
		{name: "address", settings: settings{"BIND_ADDR": "::ffff:10.0.0.1"}, want: &sources.TCP{Port: 10001, Address: netip.MustParseAddr("10.0.0.1")}},
		{name: "address in brackets", settings: settings{"BIND_ADDR": "[fd00::1]"}, want: &sources.TCP{Port: 10001, Address: netip.MustParseAddr("fd00::1")}},
		{name: "any address", settings: settings{"BIND_ADDR": "*"}, want: &sources.TCP{Port: 10001}},
		{name: "bad address", settings: settings{"BIND_ADDR": "localhost", "PORT": "5432"}, want: &sources.TCP{}, problems: []string{"not an IP address"}},
		{name: "options", settings: settings{"MODE": "tcp", "BIND_OPTIONS": "accept-proxy ssl crt"}, want: &sources.TCP{Port: 10001, AcceptProxy: true}, problems: []string{"ssl", "crt"}},
		{name: "passthrough", settings: settings{"TLS_PASSTHROUGH": "true"}, http: true, want: &sources.TCP{Passthrough: true}},
		{name: "passthrough and port", settings: settings{"TLS_PASSTHROUGH": "true", "PORT": "8883"}, want: &sources.TCP{Passthrough: true, Port: 8883}},
		{name: "passthrough behind a proxy", settings: settings{"TLS_PASSTHROUGH": "true", "BIND_OPTIONS": "accept-proxy"}, want: &sources.TCP{Passthrough: true, AcceptProxy: true},
			problems: []string{"BIND_OPTIONS: has no effect"}},
		{name: "requests", settings: settings{"MODE": "tcp", "PATH": "/x", "BALANCE": "uri", "HASH_POLICY": "cookie a"}, want: &sources.TCP{Port: 10001},
			problems: []string{"PATH: has no effect", "BALANCE: hashes requests", "HASH_POLICY: hashes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := NewSettings()
			for _, l := range AllSettings() {
				name := l.Name()
				if value, ok := tt.settings[name]; ok {
					p.Set(name, value)
				}
			}
			got := p.TCP(10001, tt.http)
			_, u, problems := p.Finish()
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("TCP (-want +got):\n%s", diff)
			}
			wantProblems(t, problems, tt.problems)
			if u != nil && u.Balance == sources.BalanceHash {
				t.Error("picks by a hash of requests")
			}
		})
	}
	p := NewSettings()
	p.Set("MODE", "tcp")
	tcp := p.TCP(0, false)
	_, _, problems := p.Finish()
	if tcp.Port != 0 {
		t.Errorf("port %d out of nothing", tcp.Port)
	}
	wantProblems(t, problems, []string{"MODE: has no effect: the app has no service port"})
}
