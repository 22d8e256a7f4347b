package admin

import (
	"testing"
	"time"

	"relay/collator"
	"relay/sources"
)

// A port of a TCP service says in one line what its labels ask for, and who is let in.
func TestTCPOfPort(t *testing.T) {
	t.Parallel()
	many := []sources.ClientName{{Type: sources.NameURI, Value: "spiffe://a/", Prefix: true}}
	for range maxClientNames + 1 {
		many = append(many, sources.ClientName{Type: sources.NameDNS, Value: "d.test"})
	}
	for _, test := range []struct {
		name  string
		tcp   sources.TCP
		lacks bool
		want  string
	}{
		{"a port", sources.TCP{Port: 5432}, false, "port 5432"},
		{"a database", sources.TCP{Port: 5432, Hold: 30 * time.Second}, false, "port 5432; new connections wait up to 30s while there is no instance"},
		{"passed through", sources.TCP{Passthrough: true}, false, "TLS is passed through by server name"},
		{"TLS", sources.TCP{Port: 1, ServiceTLS: &sources.ServiceTLS{}}, false, "port 1; TLS ends at Envoy (intermediate); clients need no certificate"},
		{
			"names and rates",
			sources.TCP{Port: 8883, ServiceTLS: &sources.ServiceTLS{ClientCA: "devices", Profile: sources.TLSModern, ClientNames: many[:2]}, AcceptRate: 50, AddressRate: 2.5, MaxConnectionAge: 24 * time.Hour, Rebalance: 10}, false,
			"port 8883; TLS ends at Envoy (modern); clients need a certificate of devices, with a name of uri:spiffe://a/*, dns:d.test; " +
				"new connections at 50/s to each instance; at 2.5/s from one address; connections end after 24h0m0s, or up to a tenth later; up to 10 % a minute end to even them out",
		},
		{
			"optional, many names", sources.TCP{Port: 1, ServiceTLS: &sources.ServiceTLS{ClientCA: "devices", OptionalCertificate: true, ClientNames: many}}, false,
			"port 1; TLS ends at Envoy (intermediate); clients may have a certificate of devices, with a name of uri:spiffe://a/*, dns:d.test, dns:d.test, dns:d.test, dns:d.test and 2 more",
		},
		{
			"no authority", sources.TCP{Port: 1, ServiceTLS: &sources.ServiceTLS{ClientCA: "nope"}}, true,
			"port 1; TLS ends at Envoy (intermediate); nobody is let in: no certificate store has the authority nope",
		},
		{
			"refused", sources.TCP{Port: 1, ServiceTLS: &sources.ServiceTLS{ClientCA: "devices", Refused: true}}, false,
			"port 1; TLS ends at Envoy (intermediate); nobody is let in: a restriction was asked for that cannot be kept",
		},
	} {
		if got := tcpOf(collator.PortView{TCP: &test.tcp, LacksAuthority: test.lacks}); got.Text != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got.Text, test.want)
		}
	}
}
