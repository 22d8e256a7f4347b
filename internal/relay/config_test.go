package relay

import (
	"net/netip"
	"slices"
	"testing"

	"relay/collator/routing"
)

// Fleets get what follows from the rest of the configuration.
func TestCollatorConfig(t *testing.T) {
	c := Config{
		XDS: XDSPort{Address: "127.0.0.1:18000"}, Admin: AdminPort{Address: "127.0.0.1:9090"}, SessionTicketKeyFile: "/k",
		Fleets: []Fleet{
			{Fleet: routing.Fleet{
				Name: "external", HTTPS: netip.MustParseAddrPort("0.0.0.0:443"), ServerNames: []string{"*.Example.com", "Shop.test"},
			}},
			{Fleet: routing.Fleet{
				Name: "public", HTTPS: netip.MustParseAddrPort("0.0.0.0:8443"), HTTPSPublicPort: 443, ReservedPorts: []uint16{80, 443, 9901},
			}},
			{Fleet: routing.Fleet{Name: "internal", HTTP: netip.MustParseAddrPort("10.0.0.1:8080")}},
		},
	}
	fleets := c.collatorConfig().Fleets
	if fleets[0].HTTPSPublicPort != 443 || fleets[1].HTTPSPublicPort != 443 {
		t.Errorf("public ports %d and %d", fleets[0].HTTPSPublicPort, fleets[1].HTTPSPublicPort)
	}
	if want := []string{"*.example.com", "shop.test"}; !slices.Equal(fleets[0].ServerNames, want) {
		t.Errorf("server names %q, want %q", fleets[0].ServerNames, want)
	}
	if want := []uint16{80, 443, 9901, 18000, 9090}; !slices.Equal(fleets[1].ReservedPorts, want) {
		t.Errorf("reserved ports %d, want %d", fleets[1].ReservedPorts, want)
	}
	if !fleets[0].TLS.SharedTickets || fleets[2].TLS.SharedTickets {
		t.Errorf("shared session tickets: %v and %v, want those of the fleet with HTTPS", fleets[0].TLS.SharedTickets, fleets[2].TLS.SharedTickets)
	}
}
