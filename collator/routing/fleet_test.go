package routing_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"relay/collator/collatortest"
	"relay/collator/routing"
)

func TestTLSOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		change func(*routing.Fleet)
		want   string
	}{
		{func(f *routing.Fleet) { f.TLS.MinVersion = "1.1" }, "takes TLS 1.1"},
		{func(f *routing.Fleet) { f.TLS.ClientCertificates = "some" }, `asks for "some"`},
		{func(f *routing.Fleet) {
			f.TLS.ClientCertificates, f.HTTPS = routing.ClientCertificatesOptional, netip.AddrPort{}
		}, "no address for https"},
	} {
		fleet := collatortest.Fleet()
		tt.change(&fleet)
		if err := fleet.Check(); err == nil || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%+v: error %v, want one with %q", fleet.TLS, err, tt.want)
		}
	}
}
