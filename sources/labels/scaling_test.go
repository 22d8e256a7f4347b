package labels

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

func TestScaling(t *testing.T) {
	t.Parallel()
	type labels map[string]string
	for _, tt := range []struct {
		name     string
		labels   labels
		scaling  *sources.Scaling
		queue    *sources.Queue
		wake     sources.WakeTCP
		asleep   int
		problems []string // parts of "KEY: reason"
	}{
		{name: "none"},
		{name: "empty", labels: labels{"RELAY_IDLE_AFTER": "", "RELAY_SCALE": " ", "RELAY_0_CONCURRENCY": "", "RELAY_0_WAKE": ""}},
		{name: "sleeps", labels: labels{"RELAY_IDLE_AFTER": "30m"}, scaling: &sources.Scaling{IdleAfter: 30 * time.Minute}},
		{name: "all of sleep", labels: labels{"RELAY_IDLE_AFTER": "1h30m", "RELAY_WAKE_TIMEOUT": "10m", "RELAY_WAKE_PAGE": "yes"},
			scaling: &sources.Scaling{IdleAfter: 90 * time.Minute, WakeTimeout: 10 * time.Minute, WakePage: true}},
		{name: "brief", labels: labels{"RELAY_IDLE_AFTER": "5s"}, scaling: &sources.Scaling{IdleAfter: 5 * time.Second}, problems: []string{"write 1m or more"}},
		{name: "a mistake never sleeps", labels: labels{"RELAY_IDLE_AFTER": "30", "RELAY_WAKE_PAGE": "true"}, problems: []string{"never sleeps: write a duration"}},
		{name: "too brief, too long", labels: labels{"RELAY_IDLE_AFTER": "999ms", "RELAY_WAKE_TIMEOUT": "11m"}, problems: []string{"from 1s", "1s to 10m"}},
		{name: "negative", labels: labels{"RELAY_IDLE_AFTER": "-1h"}, problems: []string{"RELAY_IDLE_AFTER"}},
		{name: "nobody could wake it", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_0_VHOST": ""}, problems: []string{"no request could wake it"}},
		{name: "no fleet", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_GROUP": ""}, problems: []string{"no request could wake it"}},
		{name: "its group may be routed", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_0_VHOST": "", "HAPROXY_DEPLOYMENT_GROUP": "g"},
			scaling: &sources.Scaling{IdleAfter: 30 * time.Minute}},
		{name: "wake without sleep", labels: labels{"RELAY_WAKE_TIMEOUT": "10s", "RELAY_WAKE_PAGE": "true"}, problems: []string{"RELAY_WAKE_PAGE: has no effect", "RELAY_WAKE_TIMEOUT: has no effect"}},
		{name: "TCP", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "5432", "HAPROXY_0_VHOST": "", "RELAY_0_WAKE": " Client-First"},
			scaling: &sources.Scaling{IdleAfter: 30 * time.Minute}, wake: sources.WakeClientFirst},
		{name: "any TCP", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "25", "HAPROXY_0_VHOST": "", "RELAY_0_WAKE": "any"},
			scaling: &sources.Scaling{IdleAfter: 30 * time.Minute}, wake: sources.WakeAny},
		{name: "TCP that nothing wakes", labels: labels{"RELAY_IDLE_AFTER": "30m", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "25", "HAPROXY_0_VHOST": ""}, problems: []string{"no request could wake it"}},
		{name: "wake of HTTP", labels: labels{"RELAY_IDLE_AFTER": "30m", "RELAY_0_WAKE": "any"}, scaling: &sources.Scaling{IdleAfter: 30 * time.Minute}, problems: []string{"http mode"}},
		{name: "wake of TCP without sleep", labels: labels{"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "25", "HAPROXY_0_VHOST": "", "RELAY_0_WAKE": "any"}, problems: []string{"without RELAY_IDLE_AFTER"}},
		{name: "odd wake", labels: labels{"RELAY_0_WAKE": "server-first"}, problems: []string{"client-first or any"}},
		{name: "asleep", labels: labels{"RELAY_ASLEEP": "2"}, scaling: &sources.Scaling{}, asleep: 2},
		{name: "asleep, as a second Relay writes it", labels: labels{"RELAY_ASLEEP": "02"}, scaling: &sources.Scaling{}, asleep: 2},
		{name: "asleep, with a way to wake", labels: labels{"RELAY_ASLEEP": "2", "RELAY_WAKE_TIMEOUT": "5s"}, scaling: &sources.Scaling{WakeTimeout: 5 * time.Second}, asleep: 2},
		{name: "asleep with none", labels: labels{"RELAY_ASLEEP": "0"}, problems: []string{"does not wake the app"}},
		{name: "asleep with very many", labels: labels{"RELAY_ASLEEP": "10001"}, problems: []string{"does not wake the app"}},
		{name: "asleep as a word", labels: labels{"RELAY_ASLEEP": "true"}, problems: []string{"does not wake the app"}},
		{name: "grows", labels: labels{"RELAY_SCALE": "2..20"}, scaling: &sources.Scaling{Min: 2, Max: 20, Target: 10}},
		{name: "grows its own way", labels: labels{"RELAY_SCALE": " 1 .. 3 ", "RELAY_SCALE_TARGET": "0.5", "RELAY_SCALE_DOWN_AFTER": "90s"},
			scaling: &sources.Scaling{Min: 1, Max: 3, Target: 0.5, DownAfter: 90 * time.Second}},
		{name: "one number", labels: labels{"RELAY_SCALE": "3"}, problems: []string{"set instances of the app"}},
		{name: "from none", labels: labels{"RELAY_SCALE": "0..3"}, problems: []string{"set RELAY_IDLE_AFTER"}},
		{name: "odd bounds", labels: labels{"RELAY_SCALE": "5..3"}, problems: []string{"such as 2..20"}},
		{name: "a hyphen", labels: labels{"RELAY_SCALE": "2-20"}, problems: []string{"such as 2..20"}},
		{name: "too many", labels: labels{"RELAY_SCALE": "2..1001"}, problems: []string{"from 1 to 1000"}},
		{name: "three bounds", labels: labels{"RELAY_SCALE": "1..2..3"}, problems: []string{"such as 2..20"}},
		{name: "targets", labels: labels{"RELAY_SCALE": "1..2", "RELAY_SCALE_TARGET": "NaN"}, scaling: &sources.Scaling{Min: 1, Max: 2, Target: 10}, problems: []string{"RELAY_SCALE_TARGET"}},
		{name: "endless target", labels: labels{"RELAY_SCALE": "1..2", "RELAY_SCALE_TARGET": "inf"}, scaling: &sources.Scaling{Min: 1, Max: 2, Target: 10}, problems: []string{"RELAY_SCALE_TARGET"}},
		{name: "no target", labels: labels{"RELAY_SCALE": "1..2", "RELAY_SCALE_TARGET": "0"}, scaling: &sources.Scaling{Min: 1, Max: 2, Target: 10}, problems: []string{"RELAY_SCALE_TARGET"}},
		{name: "target alone", labels: labels{"RELAY_SCALE_TARGET": "3", "RELAY_SCALE_DOWN_AFTER": "1m"}, problems: []string{"RELAY_SCALE_DOWN_AFTER: has no effect", "RELAY_SCALE_TARGET: has no effect"}},
		{name: "a group's tool scales", labels: labels{"RELAY_SCALE": "1..2", "HAPROXY_DEPLOYMENT_GROUP": "g"}, problems: []string{"the tool that deploys the group"}},
		{name: "queue", labels: labels{"RELAY_0_CONCURRENCY": "1", "RELAY_0_QUEUE": "40", "RELAY_0_QUEUE_TIMEOUT": "5s"}, queue: &sources.Queue{Concurrency: 1, Length: 40, Timeout: 5 * time.Second}},
		{name: "queue by default", labels: labels{"RELAY_0_CONCURRENCY": "8"}, queue: &sources.Queue{Concurrency: 8, Length: 100}},
		{name: "nobody waits", labels: labels{"RELAY_0_CONCURRENCY": "8", "RELAY_0_QUEUE": "0"}, queue: &sources.Queue{Concurrency: 8}},
		{name: "queue alone", labels: labels{"RELAY_0_QUEUE": "8", "RELAY_0_QUEUE_TIMEOUT": "1s"}, problems: []string{"RELAY_0_QUEUE: has no effect without RELAY_{n}_CONCURRENCY", "RELAY_0_QUEUE_TIMEOUT"}},
		{name: "odd queue", labels: labels{"RELAY_0_CONCURRENCY": "0", "RELAY_0_QUEUE": "10001", "RELAY_0_QUEUE_TIMEOUT": "0s"},
			problems: []string{"1 to 10000", "0 to 10000", "1ms"}},
		{name: "queue beside sessions", labels: labels{"RELAY_0_CONCURRENCY": "1", "HAPROXY_0_STICKY": "true"}, problems: []string{"RELAY_0_CONCURRENCY: has no effect beside STICKY"}},
		{name: "queue beside a hash", labels: labels{"RELAY_0_CONCURRENCY": "1", "HAPROXY_0_BALANCE": "source"}, problems: []string{"RELAY_0_CONCURRENCY: has no effect beside BALANCE"}},
		{name: "queue of TCP", labels: labels{"RELAY_0_CONCURRENCY": "1", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "25", "HAPROXY_0_VHOST": ""}, problems: []string{"tcp mode"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := labels{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test"}
			maps.Copy(all, tt.labels)
			got := Read(all, []DeclaredPort{{}})
			if diff := cmp.Diff(tt.scaling, got.Scaling); diff != "" {
				t.Errorf("scaling (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.queue, got.Ports[0].Queue); diff != "" {
				t.Errorf("queue (-want +got):\n%s", diff)
			}
			if got.Ports[0].Wake != tt.wake || got.Asleep != tt.asleep {
				t.Errorf("wake is %d, asleep %d", got.Ports[0].Wake, got.Asleep)
			}
			wantProblems(t, got.Problems, tt.problems)
		})
	}
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, " YES ": true, "false": false, "": false, "soon": false} {
		if got := Read(map[string]string{"RELAY_MAINTENANCE": value}, []DeclaredPort{{}}).Maintenance; got != want {
			t.Errorf("%q is %t", value, got)
		}
	}
}

// FuzzScaling holds that no value gets past its bounds.
func FuzzScaling(f *testing.F) {
	f.Add("30m", "60s", "2..20", "10", "2", "1", "5")
	f.Add("1e9h", "-1s", "1..99999999999", "1e400", "-1", "0x10", "+5")
	f.Fuzz(func(t *testing.T, idle, wake, scale, target, asleep, concurrency, queue string) {
		got := Read(map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_0_VHOST": "a.test", "RELAY_IDLE_AFTER": idle, "RELAY_WAKE_TIMEOUT": wake, "RELAY_SCALE": scale,
			"RELAY_SCALE_TARGET": target, "RELAY_ASLEEP": asleep, "RELAY_0_CONCURRENCY": concurrency, "RELAY_0_QUEUE": queue}, []DeclaredPort{{}})
		if got.Asleep < 0 || got.Asleep > MaxAsleep {
			t.Errorf("asleep with %d", got.Asleep)
		}
		if s := got.Scaling; s != nil {
			idleOK := s.IdleAfter == 0 || s.IdleAfter >= minIdleAfter && s.IdleAfter <= longestTimeout
			sizeOK := s.Max == 0 && s.Min == 0 && s.Target == 0 || s.Min >= 1 && s.Min <= s.Max && s.Max <= maxScale && s.Target > 0 && s.Target <= maxScaleTarget
			if !idleOK || !sizeOK || s.WakeTimeout < 0 || s.WakeTimeout > sources.MaxWakeTimeout {
				t.Errorf("%+v", s)
			}
		}
		if q := got.Ports[0].Queue; q != nil && (q.Concurrency < 1 || q.Concurrency > maxConcurrency || q.Length < 0 || q.Length > maxQueue) {
			t.Errorf("%+v", q)
		}
	})
}
