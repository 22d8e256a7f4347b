package marathon

import (
	"slices"
	"strings"
	"testing"
)

func TestParseEvent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, data string
		kind       string
		apps       []string
		full       bool
		group      string
		fails      bool
		pods       bool
	}{
		{data: `{"eventType":"pod_updated_event","uri":"/v2/pods/shop/pod"}`, kind: "pod_updated_event", apps: []string{"/shop/pod"}, pods: true},
		{data: `{"eventType":"pod_updated_event","uri":"/v2/pods//shop/pod::instances?force=true"}`, kind: "pod_updated_event", apps: []string{"/shop/pod"}, pods: true},
		{data: `{"eventType":"pod_created_event","uri":"/v2/pods"}`, kind: "pod_created_event", full: true, pods: true},
		{data: `{"eventType":"pod_deleted_event"}`, kind: "pod_deleted_event", full: true, pods: true},
		{data: `{"eventType":"pod_deleted_event","uri":"/v2/pods/shop/pod"}`, kind: "pod_deleted_event"},
		{data: `{"eventType":"deployment_info","plan":{"id":"d","steps":[{"actions":[{"action":"x","app":"/a"},{"pod":"/p"}]}]}}`, kind: "deployment_info", apps: []string{"/a", "/p"}, pods: true},
		{data: `{"eventType":"event_stream_attached","remoteAddress":"10.0.0.9"}`, kind: "event_stream_attached"},
		{data: `{"eventType":"api_post_event","appDefinition":{"id":"/shop/web","labels":{"A":"b"}},"uri":"/v2/apps"}`, kind: "api_post_event", apps: []string{"/shop/web"}},
		{data: `{"eventType":"api_post_event"}`, kind: "api_post_event", fails: true},
		{data: `{"eventType":"app_terminated_event","appId":"/shop/web"}`, kind: "app_terminated_event", apps: []string{"/shop/web"}},
		{data: `{"eventType":"status_update_event","taskId":"x","taskStatus":"TASK_LOST","appId":"/a","host":"unknown","slaveId":"","ipAddresses":null,"ports":[]}`, kind: "status_update_event", apps: []string{"/a"}},
		{name: "status_update_event", data: `{"appId":"/a"}`, kind: "status_update_event", apps: []string{"/a"}},
		{data: `{"eventType":"status_update_event"}`, kind: "status_update_event", fails: true},
		{data: `{"eventType":"status_update_event","appId":"/a/*"}`, kind: "status_update_event", fails: true},
		{data: `{"eventType":"status_update_event","appId":"/a/../b"}`, kind: "status_update_event", fails: true},
		{data: `{"eventType":"status_update_event","appId":"/a/tasks"}`, kind: "status_update_event", apps: []string{"/a/tasks"}},
		{data: `{"eventType":"instance_changed_event","runSpecId":"/a","agentId":null,"host":null}`, kind: "instance_changed_event", apps: []string{"/a"}},
		{data: `{"eventType":"instance_health_changed_event","runSpecId":"/a","healthy":null}`, kind: "instance_health_changed_event", apps: []string{"/a"}},
		{data: `{"eventType":"deployment_info","plan":{"id":"d","steps":[{"actions":[{"action":"x","app":"/a"},{"pod":"/p"}]},{"actions":[{"app":"/b"}]}],"original":{"groups":[]}},"currentStep":{"actions":[{"app":"/a"}]}}`, kind: "deployment_info", apps: []string{"/a", "/b"}},
		{data: `{"eventType":"deployment_step_success","currentStep":{"actions":[{"app":"/a"}]}}`, kind: "deployment_step_success", apps: []string{"/a"}},
		{data: `{"eventType":"deployment_failed","id":"d","plan":{}}`, kind: "deployment_failed", full: true},
		{data: `{"eventType":"deployment_success","id":"d","plan":{"id":"d","steps":[]}}`, kind: "deployment_success"},
		{data: `{"eventType":"group_change_success","groupId":"/shop"}`, kind: "group_change_success", group: "/shop"},
		{data: `{"eventType":"scheduler_registered_event","appId":7}`, kind: "", fails: true},
		{data: `{"eventType":"brand_new_event","appId":"/a"}`, kind: "brand_new_event"},
		{name: "status_update_event", data: `{"eventType":"status_upd`, kind: "status_update_event", fails: true},
	}
	for _, tt := range tests {
		c, err := parseEvent(message{name: tt.name, data: []byte(tt.data)}, tt.pods)
		if (err != nil) != tt.fails {
			t.Errorf("%s: error %v", tt.data, err)
		}
		if c.eventType != tt.kind || !slices.Equal(c.apps, tt.apps) || c.full != tt.full || c.group != tt.group {
			t.Errorf("%s: %+v", tt.data, c)
		}
	}
}

// An event is told to people in words. What is odd in it costs the words alone.
func TestEventWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ data, want string }{
		{`{"eventType":"status_update_event","appId":"/a","taskId":"a.1","taskStatus":"TASK_RUNNING"}`, "status_update_event of task a.1, TASK_RUNNING"},
		{`{"eventType":"instance_changed_event","runSpecId":"/a","instanceId":"a.marathon-1","condition":"Running"}`, "instance_changed_event of task a.marathon-1, Running"},
		{`{"eventType":"health_status_changed_event","appId":"/a","taskId":"a.1","alive":false}`, "health_status_changed_event of task a.1, unhealthy"},
		{`{"eventType":"instance_health_changed_event","runSpecId":"/a","instanceId":"a.1","healthy":true}`, "instance_health_changed_event of task a.1, healthy"},
		{`{"eventType":"deployment_success","id":"d1","plan":{"id":"d1","steps":[{"actions":[{"app":"/a"}]}]}}`, "deployment_success of deployment d1"},
		{`{"eventType":"group_change_success","groupId":"/shop"}`, "group_change_success of group /shop"},
		{`{"eventType":"status_update_event","appId":"/a","taskId":{"x":[1]},"taskStatus":7,"alive":null}`, "status_update_event"},
	} {
		c, err := parseEvent(message{data: []byte(tt.data)}, true)
		if got := c.words(); err != nil || got != tt.want {
			t.Errorf("%s: %q, error %v; want %q", tt.data, got, err, tt.want)
		}
	}
	long, _ := parseEvent(message{data: []byte(`{"eventType":"status_update_event","appId":"/a","taskId":"` + strings.Repeat("a", 1<<16) + `"}`)}, true)
	if n := len(long.words()); n > 1000 {
		t.Errorf("%d bytes", n)
	}
}

// A change counts more than what is awaited, and a later cause more than an earlier one.
func TestCauses(t *testing.T) {
	t.Parallel()
	change, later, awaited := cause{isChange: true, words: "change"}, cause{isChange: true, words: "later"}, cause{words: "awaited"}
	ofTask := cause{isChange: true, ofTask: true, words: "of a task"}
	ended := cause{isChange: true, ended: true, words: "deployment"}
	for _, tt := range []struct{ a, b, want cause }{
		{cause{}, change, change}, {change, later, later}, {change, awaited, change}, {awaited, change, change},
		{awaited, cause{}, awaited}, {awaited, cause{isChange: true}, cause{isChange: true, words: "awaited"}},
		{ofTask, later, ofTask}, {later, ofTask, ofTask}, {ofTask, awaited, ofTask},
		{ended, ofTask, cause{isChange: true, ofTask: true, ended: true, words: "of a task"}}, {change, ended, ended},
	} {
		if got := tt.a.or(tt.b); got != tt.want {
			t.Errorf("%v or %v: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
	if got := ended.again().again(); got.isChange || got.ended || got.words != "read again after deployment" {
		t.Errorf("again: %v", got)
	}
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	d := deployments{}
	steps := []struct {
		name string
		c    change
		apps []string
		full bool
	}{
		{"named", change{deployment: "1", apps: []string{"/shop/web", "/b"}}, []string{"/shop/web", "/b"}, false},
		{"visible below a group", change{group: "/shop"}, []string{"/shop/web"}, true},
		{"not a group by its prefix alone", change{group: "/sho"}, nil, true},
		{"visible at the root", change{group: "/"}, []string{"/shop/web", "/b"}, true},
		{"ended without a plan", change{deployment: "1", ended: true, full: true}, []string{"/shop/web", "/b"}, false},
		{"ended, not known", change{deployment: "1", ended: true, full: true}, nil, true},
	}
	for _, s := range steps {
		if apps, full := d.apply(s.c); !slices.Equal(apps, s.apps) || full != s.full {
			t.Errorf("%s: %q %v", s.name, apps, full)
		}
	}
}
