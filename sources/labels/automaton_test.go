package labels

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources"
)

// Expressions that people write are taken; those that would keep an Envoy busy with one request are not, and that is
// told soon.
func TestExpressionsThatTakeLong(t *testing.T) {
	t.Parallel()
	var words []string
	for i := range 60 {
		words = append(words, fmt.Sprintf("%cword%d", 'a'+i%26, i))
	}
	for pattern, takes := range map[string]bool{
		`/old/(.*)`:                                   true,
		`/v[0-9]+/users/([^/]+)`:                      true,
		`(?i)/Shop/([a-z]{1,200})/(.*)`:               true,
		`/.*\.(jpg|jpeg|png|gif|css|js|woff2?)`:       true,
		`/([0-9]{4})/([0-9]{2})/([0-9]{2})/([^/]+)/?`: true,
		`/(` + strings.Join(words, "|") + `)/.*`:      true,
		`[a-z0-9-]{1,63}\.([a-z0-9-]+\.)*shop\.test`:  true,
		`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`:   true,
		`.*`:                                true,
		`.{0,300}`:                          true,
		`/[ab]*a[ab]{200}X`:                 false,
		`/[ab]*a[ab]{14}`:                   false,
		`/(.*a)*(.*b)*.{20}c.{20}`:          false,
		`(?i)(.*[k-s]){30}`:                 true,
		`(.*a.{3}b.{4}c.{5}d.{6}e.{7}f)+`:   false,
		`(x+x+)+y`:                          true,
		`/[a-z]*[0-9a-f]{30}[a-z]*[g-z]{9}`: true,
	} {
		var wrong string
		if took := cputest.Thread(func() { wrong = CheckPattern(pattern) }); (wrong == "") != takes || took > 10*time.Second {
			t.Errorf("%s: %q after %s", pattern, wrong, took)
		}
	}
}

// The groups of an expression take an Envoy longer, as it has to follow all ways through it.
func TestGroupsThatTakeLong(t *testing.T) {
	t.Parallel()
	for pattern, takes := range map[string]bool{
		`^/v[0-9]+/users/([^/]+)`:               true,
		`^/([^/]+)/([^/]+)/([^/]+)/(.*)`:        true,
		`^/(news|blog|sport|wetter|hilfe)/(.*)`: true,
		`^/(.*)/([a-z-]+)\.(html|htm|php|asp)`:  true,
		`^/(alpha|beta|gamma|delta|eta|iota|kappa|lambda|mu|nu|omikron|pi|rho|sigma|tau|xi|zeta)/(.*)`: true,
		`^/` + strings.Repeat("([a-z]*)", 60):           false,
		`^/(` + strings.Repeat("[ab]*[cd]*", 20) + `)*`: false,
	} {
		rewrite := sources.PathRewrite{Pattern: pattern, Substitution: `/\1`}
		if wrong := CheckPathRewrite(rewrite); (wrong == "") != takes {
			t.Errorf("%s: %q", pattern, wrong)
		}
	}
}

// Envoy leaves out the groups of large expressions: so a redirect would lead elsewhere.
func TestRedirectsWhoseGroupsEnvoyLeavesOut(t *testing.T) {
	t.Parallel()
	for path, takes := range map[string]bool{
		`/old/(.*)`:                              true,
		`/` + strings.Repeat("a", 50) + `/(.*)`:  true,
		`/` + strings.Repeat("a", 100) + `/(.*)`: false,
		`/([a-z]{1,20})/([a-z]{1,20})`:           true,
		`/([a-z]{1,40})/([a-z]{1,40})`:           false,
		`/([^/]+)/([^/]+)/([^/]+)/([^/]+)/(.*)`:  true,
	} {
		if wrong := CheckRedirect(sources.Redirect{Path: path, Target: `/new/\1`, Code: 301}); (wrong == "") != takes {
			t.Errorf("%s: %q", path, wrong)
		}
		if wrong := CheckRedirect(sources.Redirect{Path: path, Target: `/new`, Code: 301}); wrong != "" {
			t.Errorf("%s without a group: %q", path, wrong)
		}
	}
}
