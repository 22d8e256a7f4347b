package labels

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/sources"
)

func TestConnectionLabels(t *testing.T) {
	t.Parallel()
	type test struct {
		name     string
		settings map[string]string
		http     bool
		want     *sources.TCP
		problems []string
	}
	tests := []test{
		{name: "age", settings: map[string]string{"MAX_CONNECTION_AGE": " 24h "}, want: &sources.TCP{Port: 10001, MaxConnectionAge: 24 * time.Hour}},
		{name: "bad ages", settings: map[string]string{"MAX_CONNECTION_AGE": "24"}, want: &sources.TCP{Port: 10001}, problems: []string{"may last for ever"}},
		{name: "negative", settings: map[string]string{"MAX_CONNECTION_AGE": "-1h"}, want: &sources.TCP{Port: 10001}, problems: []string{"may last for ever"}},
		{name: "no age", settings: map[string]string{"MAX_CONNECTION_AGE": "0s"}, want: &sources.TCP{Port: 10001}, problems: []string{"write a duration from 1s to 8760h"}},
		{name: "in http mode", http: true, settings: map[string]string{"MAX_CONNECTION_AGE": "24h", "REBALANCE": "10%/min"}, problems: []string{"MAX_CONNECTION_AGE: ", "REBALANCE: "}},
		{name: "rebalance", settings: map[string]string{"REBALANCE": "10%/min"}, want: &sources.TCP{Port: 10001, Rebalance: 10}},
		{name: "fractions", settings: map[string]string{"REBALANCE": " 0.5 %/min "}, want: &sources.TCP{Port: 10001, Rebalance: 0.5}},
		{name: "empty", settings: map[string]string{"REBALANCE": " ", "MAX_CONNECTION_AGE": ""}, want: &sources.TCP{Port: 10001, Implicit: true}},
		{name: "by the fewest", settings: map[string]string{"REBALANCE": "10%/min", "BALANCE": "leastconn"}, want: &sources.TCP{Port: 10001, Rebalance: 10}},
		{name: "by the client", settings: map[string]string{"REBALANCE": "10%/min", "BALANCE": "source"}, want: &sources.TCP{Port: 10001}, problems: []string{"REBALANCE: has no effect beside BALANCE"}},
		{name: "by a hash", settings: map[string]string{"REBALANCE": "10%/min", "HASH_POLICY": "source_ip"}, want: &sources.TCP{Port: 10001}, problems: []string{"REBALANCE: has no effect beside HASH_POLICY"}},
		{name: "at random", settings: map[string]string{"REBALANCE": "10%/min", "BALANCE": "random"}, want: &sources.TCP{Port: 10001}, problems: []string{"REBALANCE: has no effect beside BALANCE"}},
		{name: "in turns", settings: map[string]string{"REBALANCE": "10%/min", "BALANCE": "roundrobin"}, want: &sources.TCP{Port: 10001}, problems: []string{"REBALANCE: has no effect beside BALANCE"}},
	}
	tests = append(tests, test{name: "hold", settings: map[string]string{"HOLD": " 30s "}, want: &sources.TCP{Port: 10001, Hold: 30 * time.Second}},
		test{name: "longest hold", settings: map[string]string{"HOLD": "5m"}, want: &sources.TCP{Port: 10001, Hold: 5 * time.Minute}},
		test{name: "hold in http mode", http: true, settings: map[string]string{"HOLD": "30s"}, problems: []string{"HOLD: is not supported and has no effect in http mode"}},
		test{name: "empty hold", settings: map[string]string{"HOLD": ""}, want: &sources.TCP{Port: 10001, Implicit: true}})
	for _, value := range []string{"30", "true", "0s", "-1s", "999ms", "5m1s", "1e9h", "30s 40s"} {
		tests = append(tests, test{"hold " + value, map[string]string{"HOLD": value}, false, &sources.TCP{Port: 10001}, []string{"closed while there is no instance"}})
	}
	for _, value := range []string{"10", "10%", "10%/s", "-1%/min", "0%/min", "101%/min", "NaN%/min", "Inf%/min", "1e400%/min", "%/min", "ten%/min", "10%/min/min"} {
		tests = append(tests, test{"rebalance " + value, map[string]string{"REBALANCE": value}, false, &sources.TCP{Port: 10001}, []string{"no connection is ended"}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := NewSettings()
			for _, l := range AllSettings() {
				if value, ok := tt.settings[l.Name()]; ok {
					s.Set(l.Name(), value)
				}
			}
			got := s.TCP(10001, tt.http)
			_, _, problems := s.Finish()
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("TCP (-want +got):\n%s", diff)
			}
			wantProblems(t, problems, tt.problems)
		})
	}
}
