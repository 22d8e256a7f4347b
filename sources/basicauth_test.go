package sources

import (
	"fmt"
	"strings"
	"testing"
)

const sha1Hash, cryptHash = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "$5$saltsalt$0123456789012345678901234567890123456789012"

func TestNewBasicAuth(t *testing.T) {
	t.Parallel()
	many := make([]User, MaxUsers+1)
	for i := range many {
		many[i] = User{fmt.Sprint("u", i), sha1Hash}
	}
	for _, tt := range []struct {
		name   string
		users  []User
		reason string
		envoy  bool
	}{
		{"one for Envoy", []User{{"joe", sha1Hash}}, "", true},
		{"several for Envoy", many[1:], "", true},
		{"one for Relay", []User{{"joe", cryptHash}}, "", false},
		{"one of several for Relay", []User{{"joe", sha1Hash}, {"ann", cryptHash}}, "", false},
		{"a name that Envoy does not take", []User{{"jürgen", sha1Hash}}, "", false},
		{"nobody", nil, "no user", false},
		{"too many", many, "more than", false},
		{"twice", []User{{"joe", sha1Hash}, {"joe", cryptHash}}, "twice", false},
		{"no name", []User{{"", sha1Hash}}, "user name", false},
		{"colon", []User{{"a:b", sha1Hash}}, "user name", false},
		{"line break", []User{{"a\nb", sha1Hash}}, "user name", false},
		{"not UTF-8", []User{{"\xff", sha1Hash}}, "user name", false},
		{"long name", []User{{strings.Repeat("a", 256), sha1Hash}}, "user name", false},
		{"bad hash", []User{{"joe", sha1Hash}, {"ann", "topsecret"}}, "no password hash", false},
	} {
		auth, reason := NewBasicAuth("Shop", tt.users)
		switch {
		case tt.reason != "":
			if auth != nil || !strings.Contains(reason, tt.reason) || strings.Contains(reason, "topsecret") {
				t.Errorf("%s: %+v, %q", tt.name, auth, reason)
			}
		case reason != "" || auth.Realm != "Shop" || len(auth.Users()) != len(tt.users) || auth.EnvoyChecks() != tt.envoy:
			t.Errorf("%s: %+v, %q", tt.name, auth, reason)
		default:
			for i, u := range auth.Users() {
				if u != tt.users[i] {
					t.Errorf("%s: %+v", tt.name, u)
				}
			}
		}
	}
	for realm, want := range map[string]string{"": DefaultRealm, `a"b`: DefaultRealm, "a\r\nb": DefaultRealm, "My realm": "My realm"} {
		if auth, _ := NewBasicAuth(realm, []User{{"joe", sha1Hash}}); auth.Realm != want {
			t.Errorf("realm %q is %q", realm, auth.Realm)
		}
	}
}
