package labels

import (
	"fmt"
	"strings"
	"testing"

	"relay/sources"
)

// TestLabelsOverALimit shows what labels cost that have more than is allowed, and
// that those with just as much count.
func TestLabelsOverALimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(" ", sources.MaxSettingBytes) + "x"
	list := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	groups := func(p sources.Port) int { return len(p.Groups) }
	domains := func(p sources.Port) int { return len(p.Domains) + len(p.ACMEDomains) }
	tests := []struct {
		name    string
		labels  map[string]string
		of      func(sources.Port) int // of both ports, added up
		want    int
		problem string
	}{
		{"groups", map[string]string{"HAPROXY_GROUP": list(100, "g%d,")}, groups, 200, ""},
		{"too many groups", map[string]string{"HAPROXY_GROUP": list(101, "g%d,")}, groups, 0, "more than 100 groups"},
		{"long groups", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_1_GROUP": long}, groups, 1, "more than 65536 bytes"},
		{"long groups of the app", map[string]string{"HAPROXY_GROUP": strings.Repeat("g", 1<<20)}, groups, 0, "more than 65536 bytes"},
		{"long switch", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_1_ENABLED": long}, groups, 1, "more than 65536 bytes"},
		{"long name of a deployment group", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_DEPLOYMENT_GROUP": strings.Repeat("g", 1<<20)}, groups, 2, "more than 65536 bytes"},
		{"domains", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,")}, domains, 2000, ""},
		{"too many domains", map[string]string{"HAPROXY_0_VHOST": list(2001, "d%d.test,"), "HAPROXY_1_VHOST": "a.test"}, domains, 2001, "has 2001 entries, and at most 2000 are allowed: those after the first 2000 are not routed. Split the app"},
		{"long domains", map[string]string{"HAPROXY_0_VHOST": long, "HAPROXY_1_VHOST": "a.test"}, domains, 1, "only its first 0 entries"},
		{"many bytes of domains", map[string]string{"HAPROXY_0_VHOST": list(1500, "d%d."+strings.Repeat("a", 60)+".test,")}, domains, 924, "at most 65536 are read: only its first 924 entries"},
		{"many long lists of domains", map[string]string{"HAPROXY_0_VHOST": "a.test" + long, "HAPROXY_1_VHOST": "a.test" + long, "HAPROXY_2_VHOST": "a.test" + long, "MARATHON_ACME_0_DOMAIN": "a.test" + long,
			"MARATHON_ACME_1_DOMAIN": "a.test" + long}, domains, 3, "is ignored: it has more than 65536 bytes"},
		{"too many ACME domains", map[string]string{"MARATHON_ACME_0_DOMAIN": list(3000, "d%d.test,")}, domains, 2000, "has 3000 entries"},
		{"domains of an app", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,"), "MARATHON_ACME_0_DOMAIN": list(2000, "d%d.test,")}, domains, 4000, ""},
		{"too many domains of an app", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,"), "HAPROXY_1_VHOST": list(2000, "d%d.test,"), "HAPROXY_2_VHOST": "a.test", "MARATHON_ACME_0_DOMAIN": "a.test"},
			domains, 4001, "has 1 entries, and the app has more than 4000 in all such lists: only the first 0 of this list are routed"},
	}
	for _, tt := range tests {
		read := Read(tt.labels, []DeclaredPort{{}, {}, {}})
		if n := tt.of(read.Ports[0]) + tt.of(read.Ports[1]); n != tt.want || read.Deployment != nil {
			t.Errorf("%s: %d, want %d; deployment %v", tt.name, n, tt.want, read.Deployment)
		}
		if text := fmt.Sprint(read.Problems); !strings.Contains(text, tt.problem) || (tt.problem == "") != (len(read.Problems) == 0) {
			t.Errorf("%s: problems %.300s, want %q", tt.name, text, tt.problem)
		}
	}
}
