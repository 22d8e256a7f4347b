package certs_test

import (
	"strings"
	"testing"

	"relay/certs"
	"relay/certs/certstest"
)

// What is odd is refused, or noted, for the reason that it has. What Envoy makes of the
// same certificates, TestOddCertificates of xds/envoytest asks.
func TestParsePEMOdd(t *testing.T) {
	t.Parallel()
	for _, odd := range certstest.TestCA(t).TestOdd(t, false) {
		t.Run(odd.Name, func(t *testing.T) {
			t.Parallel()
			_, notes, err := certs.ParsePEM(odd.Bundle())
			all := strings.Join(notes, "; ")
			switch {
			case odd.Refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case odd.Refused != "" && (err == nil || !strings.Contains(err.Error(), odd.Refused)):
				t.Errorf("got %v, want an error with %q; noted is %q", err, odd.Refused, all)
			case !strings.Contains(all, odd.Noted) || odd.Noted == "" && all != "":
				t.Errorf("noted is %q, want %q", all, odd.Noted)
			}
		})
	}
}
