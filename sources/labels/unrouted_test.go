package labels

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/sources"
)

// Whatever keeps a domain out, it is found by the label that names it.
func TestUnroutedDomains(t *testing.T) {
	t.Parallel()
	one := []DeclaredPort{{Name: "http"}}
	for name, tt := range map[string]struct {
		declared   []DeclaredPort
		key, value string
		want       string // the domain, and a part of the reason
	}{
		"no such port":        {one, "HAPROXY_1_VHOST", "Shop.test", "shop.test|HAPROXY_1_VHOST: it names port 1, and the app declares 1 port"},
		"no port":             {nil, "HAPROXY_0_VHOST", "shop.test", "shop.test|the app declares no port"},
		"no domain":           {one, "HAPROXY_0_VHOST", "Shop..test", "shop..test|it is refused"},
		"the index forgotten": {one, "HAPROXY_VHOST", "https://shop.test/", "shop.test|HAPROXY_0_VHOST is likely meant"},
		"UDP":                 {[]DeclaredPort{{UDPOnly: true}}, "HAPROXY_0_VHOST", "shop.test", "shop.test|UDP only"},
		"said twice":          {one, "HAPROXY_http_VHOST", "shop.test", "shop.test|HAPROXY_0_VHOST says it already"},
		"taken out":           {one, "HAPROXY_0_ENABLED", "false", "a.test|HAPROXY_0_ENABLED takes the port out"},
		"routed":              {one, "HAPROXY_0_VHOST", "shop.test", ""},
	} {
		labels := map[string]string{tt.key: tt.value}
		if tt.key != "HAPROXY_0_VHOST" && tt.declared != nil {
			labels["HAPROXY_0_VHOST"] = "a.test"
		}
		var found []string
		for _, u := range Read(labels, tt.declared).Unrouted {
			found = append(found, u.Domain+"|"+u.Reason)
		}
		domain, reason, _ := strings.Cut(tt.want, "|")
		if (tt.want == "") != (len(found) == 0) || tt.want != "" && !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, domain+"|") && strings.Contains(s, reason) }) {
			t.Errorf("%s: %q, want %q", name, found, tt.want)
		}
	}
	many := make([]string, 2*sources.MaxUnrouted)
	for i := range many {
		many[i] = fmt.Sprintf("a%d.test", i)
	}
	if n := len(Read(map[string]string{"HAPROXY_7_VHOST": strings.Join(many, " ")}, one).Unrouted); n != sources.MaxUnrouted {
		t.Errorf("%d of many domains are remembered", n)
	}
}
