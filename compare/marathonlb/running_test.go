package marathonlb

import (
	"strings"
	"testing"
)

func FuzzReadConfig(f *testing.F) {
	f.Add("frontend marathon_http_in\n  acl h hdr(host) -i a.test\n  acl p path_beg -i /api\n  use_backend b if h p\n  redirect scheme https code 301 if h\n  http-request auth realm \"x\" if h !a\n  use_backend %[map(x)]\nfrontend b\n  bind *:10000\n")
	f.Add("frontend marathon_http_in\nfrontend marathon_http_appid_in\n  acl a hdr(x-marathon-app-id) -i /a\n  use_backend b if a\n")
	f.Add("acl\nuse_backend\nbind\nfrontend\nredirect https if\nhttp-request auth\nuse_backend %[")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadConfig(strings.NewReader(text))
		if err != nil {
			return
		}
		c.UseMaps(map[string]string{"m.test": "b"}, nil)
		for _, host := range c.Domains() {
			if does, backend := c.AnswerHTTP(host, "/api"); (does == Forwards) != (backend != "") {
				t.Errorf("%q: %s %q", host, does, backend)
			}
		}
		for port := range c.Ports {
			if port < 1 || port > 65535 {
				t.Errorf("port %d", port)
			}
		}
	})
}

func FuzzReadMap(f *testing.F) {
	f.Add("a.test a_10000\nb.test,c.test b_1\n# x\n")
	f.Add("<html>\n")
	f.Add("one\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, _ := ReadMap(strings.NewReader(text))
		for key, backend := range entries {
			if key == "" || backend == "" || strings.ContainsAny(key+backend, " \n") {
				t.Errorf("%q leads to %q", key, backend)
			}
		}
	})
}

// FuzzRules holds that no definition of an app is too odd: marathon-lb may fail of it, and the
// model must not.
func FuzzRules(f *testing.F) {
	for _, c := range fuzzSeeds {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, text string) {
		app, err := Read([]byte(text))
		if err != nil {
			return
		}
		for _, o := range []Options{{Groups: []string{"external"}}, {Groups: []string{"*"}, StrictMode: true, HealthCheck: true, HAProxyMap: true}} {
			r := RulesOf([]App{app, app}, o)
			for host := range r.Domains() {
				r.AnswerHTTP(host, "/").Does()
				r.AnswerHTTPS(host, "/x").Does()
			}
		}
	})
}

var fuzzSeeds = []string{
	`{"id":"/a","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"a.test,b.test","HAPROXY_0_PATH":"-i /a","HAPROXY_0_AUTH":"a:b:c"},"portDefinitions":[{"port":1}],"tasks":[{"id":"a","host":"h","ports":[1],"state":"TASK_RUNNING"}]}`,
	`{"id":"/a","labels":{"HAPROXY_GROUP":"external","HAPROXY_DEPLOYMENT_GROUP":"x"},"ports":[1,2],"healthChecks":[{"portIndex":1}],"tasks":[{"id":"a","host":"h","ports":[1],"healthCheckResults":[null]}]}`,
	`{"id":"a","labels":{},"networks":[{}],"container":{"portMappings":[{"containerPort":0}]},"tasks":[{"host":"h","ipAddresses":[{}]}]}`,
	`{"id":"x","labels":null,"ports":"many","tasks":{}}`, `[]`, `{"id":7}`,
}
