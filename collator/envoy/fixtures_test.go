package envoy_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"relay/collator/collatortest"
	"relay/xds/envoytest"
)

func TestMain(m *testing.M) {
	envoytest.MoreAtOnce(2)
	goleak.VerifyTestMain(m)
}

// What these tests have of collatortest, by short names.
var (
	webApp, serviceApp     = collatortest.App, collatortest.ServiceApp
	changed, set, withHTTP = collatortest.Changed, collatortest.Set, collatortest.WithHTTP
	endpoints              = collatortest.Endpoints
)

// contextOf ends with the test, or by cancel.
func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Minute)
}
