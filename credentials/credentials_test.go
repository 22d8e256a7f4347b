package credentials_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/credentials"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		app, name string
		want      []string
	}{
		{"/shop/web", "oidc", []string{"shop/web/oidc", "shop/oidc", "oidc"}},
		{"/shop", "oidc", []string{"shop/oidc", "oidc"}},
		{"/", "oidc", []string{"oidc"}},
		{"/shop/web", "../oidc", nil},
		{"/shop/web", "..", nil},
		{"/shop/web", ".", nil},
		{"/shop/web", "other/oidc", nil},
		{"/shop/web", `other\oidc`, nil},
		{"/shop/web", "%2e%2e", nil},
		{"/shop/web", "OIDC", nil},
		{"/shop/web", "", nil},
		{"/shop/web", ".hidden", nil},
		{"/shop/web", strings.Repeat("a", 65), nil},
		{"/shop/../bank", "oidc", nil},
		{"/shop/./web", "oidc", nil},
		{"//bank", "oidc", nil},
		{"/bank/", "oidc", nil},
		{"/shop/..data", "oidc", nil},
		{"/ba\x00nk", "oidc", nil},
	} {
		if got := credentials.Paths(tt.app, tt.name); !slices.Equal(got, tt.want) {
			t.Errorf("%q of %q: %q, want %q", tt.name, tt.app, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	set := make(credentials.Set)
	for _, path := range []string{"oidc", "all", "shop/oidc", "shop/web/oidc", "bank/db", "shopping/oidc"} {
		set[path] = &credentials.Credential{Source: "dir", Path: path, Value: []byte("s3cret of " + path)}
	}
	set["shop/broken/oidc"] = &credentials.Credential{Source: "dir", Path: "shop/broken/oidc"}
	for _, tt := range []struct{ app, name, want string }{
		{"/shop/broken", "oidc", ""},
		{"/shop/web", "oidc", "shop/web/oidc"},
		{"/shop/api", "oidc", "shop/oidc"},
		{"/shop/web/v2", "oidc", "shop/web/oidc"},
		{"/bank", "oidc", "oidc"},
		{"/bank", "all", "all"},
		{"/bank", "db", "bank/db"},
		{"/shop/web", "db", ""},
		{"/shop", "web", ""},
		{"/banks", "db", ""},
	} {
		got := set.Find(tt.app, tt.name)
		if (got != nil) != (tt.want != "") || got != nil && got.Path != tt.want {
			t.Errorf("%s of %s: %v, want %s", tt.name, tt.app, got, tt.want)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), "s3cret") {
			t.Error("a credential shows its value")
		}
	}
}

// Whatever ids and names are, an app is led to its own folders and the root alone.
func FuzzPaths(f *testing.F) {
	f.Add("/shop/web", "oidc")
	f.Add("/shop/../bank", "..")
	f.Fuzz(func(t *testing.T, app, name string) {
		for _, path := range credentials.Paths(app, name) {
			folder, last := "", path
			if i := strings.LastIndexByte(path, '/'); i >= 0 {
				folder, last = path[:i], path[i+1:]
			}
			if id := strings.TrimPrefix(app, "/"); last != name || folder != "" && folder != id && !strings.HasPrefix(id, folder+"/") {
				t.Errorf("%q of %q leads to %q", name, app, path)
			}
			if strings.Contains(path, "..") && !strings.Contains(app+name, "..") || slices.Contains(strings.Split(path, "/"), "..") {
				t.Errorf("%q of %q leads to %q", name, app, path)
			}
		}
	})
}
