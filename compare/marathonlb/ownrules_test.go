package marathonlb

import (
	"strings"
	"testing"
)

// A rule of somebody's own, as docs/migrating.md has people put into a template, hides none of
// marathon-lb's.
func TestRulesOfPeoplesOwn(t *testing.T) {
	t.Parallel()
	c, err := ReadConfig(strings.NewReader(`frontend marathon_http_in
  bind *:80
  acl moved req.hdr(host),lower,field(1,:) -f /marathon-lb/moved
  use_backend relay if moved
  acl host_a hdr(host) -i a.test
  use_backend a_10000 if host_a
  acl host_b hdr(host) -i b.test
  use_backend b_10001 if host_b
  redirect scheme https code 301 if !{ ssl_fc } host_b
  acl host_c hdr(host) -i c.test
  acl auth_c http_auth(user_c)
  http-request auth realm "own" if host_c !auth_c
`))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]Verb{"a.test": Forwards, "b.test": Redirects, "c.test": Asks, "d.test": Refuses} {
		if does, backend := c.AnswerHTTP(host, "/"); does != want || does == Forwards && backend != "a_10000" {
			t.Errorf("%s: %s %s, want %s", host, does, backend, want)
		}
	}
}
