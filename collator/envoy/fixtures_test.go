package envoy_test

import (
	"testing"

	"go.uber.org/goleak"

	"relay/collator/collatortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What these tests have of collatortest, by short names.
var (
	webApp, serviceApp     = collatortest.App, collatortest.ServiceApp
	changed, set, withHTTP = collatortest.Changed, collatortest.Set, collatortest.WithHTTP
	endpoints              = collatortest.Endpoints
)
