package routing

import (
	"strings"
	"testing"

	"relay/sources"
)

func TestMayUse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		user, app string
		usedBy    string
		may       bool
	}{
		{"/shop/web", "/shop/sso", "", true},
		{"/shop/web", "/shop/auth/sso", "", true},
		{"/shop/a/b", "/shop/sso", "", true},
		{"/web", "/web", "", true},
		{"/shop/web", "/platform/sso", "", false},
		{"/shop/web", "/shopping/sso", "", false},
		{"/shop/web", "/shop", "", false},
		{"/shop", "/shop/sso", "", false},
		{"/shop/", "/shop/sso", "", false},
		{"/web", "/sso", "", false},
		{"//web", "//sso", "", false},
		{"shop/web", "/shop/sso", "", false},
		{"/Shop/web", "/shop/sso", "", false},
		{"/shop/web", "/platform/sso", "*", true},
		{"/web", "/sso", "/*", true},
		{"/shop/web", "/platform/sso", "/billing/* /shop/*", true},
		{"/shopping/web", "/platform/sso", "/shop/*", false},
		{"/shop", "/platform/sso", "/shop/*", false},
		{"/shop/web", "/platform/sso", "/shop/web", true},
		{"/shop/web2", "/platform/sso", "/shop/web", false},
		{"/x/shop/web", "/platform/sso", "/shop/*", false},
	} {
		app := &sources.App{ID: test.app, Ports: []sources.Port{{UsedBy: strings.Fields(test.usedBy)}}}
		if reason := MayUse(test.user, app, 0); (reason == "") != test.may {
			t.Errorf("%s by %s, used by %q: %q", test.app, test.user, test.usedBy, reason)
		}
		if reason := MayUse(test.user, app, 1); reason == "" && MayUse(test.user, &sources.App{ID: test.app}, 0) != "" {
			t.Errorf("%s by %s: a port that does not exist may be used", test.app, test.user)
		}
	}
	if reason := MayUse("/web", &sources.App{ID: "/sso"}, 0); strings.Contains(reason, "another top-level folder") {
		t.Errorf("Apps in no folder are said to be in other folders: %s", reason)
	}
}
