package ignored_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"relay/internal/ignored"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := ignored.Parse([]string{"UptimeRobot", "10.1.2.3/8", "192.0.2.7", "2001:DB8::/32", "::ffff:192.0.2.8", "kube-probe/1.30"})
	if err != nil {
		t.Fatal(err)
	}
	var networks []string
	for _, n := range c.Networks {
		networks = append(networks, n.String())
	}
	if !slices.Equal(c.UserAgents, []string{"uptimerobot", "kube-probe/1.30"}) ||
		!slices.Equal(networks, []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "192.0.2.8/32"}) {
		t.Errorf("got %+v", c)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", " ", " x", "x ", "a\nb", "ä", "10.0.0.0/33", "::ffff:10.0.0.0/100", "10.0.0.0/8x", strings.Repeat("x", 101)} {
		if got, err := ignored.Parse([]string{bad}); err == nil || !got.None() {
			t.Errorf("%q is %+v, %v", bad, got, err)
		}
	}
	if _, err := ignored.Parse(slices.Repeat([]string{"a"}, 31)); err == nil {
		t.Error("any number of texts is taken")
	}
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	c, err := ignored.Parse([]string{"UptimeRobot", "10.0.0.0/8", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		agent, client string
		want          bool
	}{
		{"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "192.0.2.1", true},
		{"UPTIMEROBOT", "", true},
		{"Mozilla/5.0", "192.0.2.1", false},
		{"Mozilla/5.0", "10.9.9.9", true},
		{"", "::ffff:10.9.9.9", true},
		{"", "2001:db8::1", true},
		{"", "2001:db9::1", false},
		{"", "", false},
		{"upt\u0130merobot", "", false},
	} {
		var client netip.Addr
		if tt.client != "" {
			client = netip.MustParseAddr(tt.client)
		}
		if got := c.Ignored(tt.agent, client); got != tt.want {
			t.Errorf("%q from %q: %v", tt.agent, tt.client, got)
		}
	}
	if (ignored.Clients{}).Ignored("anybody", netip.MustParseAddr("10.0.0.1")) {
		t.Error("nobody is ignored")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []ignored.Clients{
		{UserAgents: []string{"Upper"}}, {UserAgents: []string{""}}, {Networks: []netip.Prefix{{}}},
		{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}},
	} {
		if c.Check() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// What is read can be told to Envoy, and comparing takes any header.
func FuzzParse(f *testing.F) {
	f.Add("UptimeRobot", "Mozilla")
	f.Add("10.0.0.0/8", "\xff")
	f.Fuzz(func(t *testing.T, entry, agent string) {
		c, err := ignored.Parse([]string{entry})
		if err == nil && (c.None() || c.Check() != nil) {
			t.Errorf("%q is read as %+v: %v", entry, c, c.Check())
		}
		c.Ignored(agent, netip.Addr{})
	})
}

func TestWith(t *testing.T) {
	t.Parallel()
	c, err := ignored.Parse([]string{"UptimeRobot", "10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	with := c.With("Relay-Probe")
	if err := with.Check(); err != nil || !with.Ignored("relay-probe/1", netip.Addr{}) || !with.Ignored("UptimeRobot", netip.Addr{}) || !with.Ignored("", netip.MustParseAddr("10.0.0.1")) {
		t.Errorf("%+v: %v", with, err)
	}
	if c.Ignored("Relay-Probe/1", netip.Addr{}) || (ignored.Clients{}).With("x").None() {
		t.Error("another one was changed, or nobody is ignored")
	}
}
