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

// patience is how long is waited for what must happen. It takes milliseconds, but a machine that has much to do may have
// nothing of a test run for seconds.
const patience = time.Minute

// contextOf ends with the test, or by cancel. A test of many steps waits for each of them.
func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 4*patience)
}
