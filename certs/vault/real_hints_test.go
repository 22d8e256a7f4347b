package vault

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"relay/internal/secret"
)

// wrongMount reads with mounts and tokens that are wrong: the error names the setting, and what
// to write.
func wrongMount(r *real) {
	r.publish("a.test")
	all := secret.String(r.server.Token)
	for name, test := range map[string]struct {
		mount string
		token secret.String // that of the mount unless given
		words []string
	}{
		"nowhere":            {"nowhere", "", []string{"403", "see whether --vault-mount nowhere is a mount"}},
		"nowhere, all right": {"nowhere", all, []string{"no handler for route", "see whether --vault-mount nowhere is a mount"}},
		"data":               {r.mount.Path + "/data", all, []string{"write --vault-mount " + r.mount.Path}},
		"data, few rights":   {r.mount.Path + "/data", "", []string{"write --vault-mount " + r.mount.Path}},
		"metadata":           {r.mount.Path + "/metadata/", all, []string{"write --vault-mount " + r.mount.Path}},
		"the API's path":     {"/v1/" + r.mount.Path + "/data", all, []string{"write --vault-mount " + r.mount.Path}},
		"wrong token":        {r.mount.Path, "hvs.none", []string{"403", "the token of --vault-token (or VAULT_TOKEN) is wrong"}},
	} {
		config := r.config()
		config.Mount = test.mount
		if test.token != "" {
			config.Token = test.token
		}
		r.Log(name)
		r.fails(r.start(config), test.words...)
	}
	if r.sink.Last().Count > 0 {
		r.Error("a failed read reached the sink")
	}
}

// wrongAddress reads from addresses that are nearly those of Vault, and logs in where no
// method is mounted.
func wrongAddress(r *real) {
	config := r.config()
	config.Addresses = []string{strings.Replace(r.server.Addr, "http://", "https://", 1)}
	r.fails(r.start(config), "write http:// in --vault-addr")
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	r.Cleanup(tls.Close)
	config.Addresses = []string{strings.Replace(tls.URL, "https://", "http://", 1)}
	r.fails(r.start(config), "write https:// in --vault-addr")
	config.Addresses = []string{tls.URL}
	r.fails(r.start(config), "--vault-ca-file")

	config = r.config()
	config.Token, config.AppRole = "", AppRole{RoleID: "x", SecretID: "hush-secret-id", Mount: "elsewhere"}
	r.fails(r.start(config), "403", "mounted at --vault-approle-mount elsewhere")
}
