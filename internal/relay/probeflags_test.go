package relay

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"relay/admin/client"
	"relay/probe"
	"relay/probe/discover"
)

func TestProbeErrorsNameItsFlags(t *testing.T) {
	t.Parallel()
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer guarded.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for want, settings := range map[string]client.Settings{
		"(--relay): ":             {Address: gone.URL},
		": give --token-file, or": {Address: guarded.URL},
	} {
		r, err := newRemoteRelay(settings)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.read(t.Context(), discover.Query{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "--admin-") {
			t.Errorf("got %v, want %s", err, want)
		}
		if kind := client.KindOf(err); kind != client.Unreachable && kind != client.Denied {
			t.Errorf("%v is of kind %v", err, kind)
		}
	}
	if _, err := newRemoteRelay(client.Settings{Address: "https://127.0.0.1:1", CA: "/nowhere"}); err == nil || !strings.HasPrefix(err.Error(), "--ca-file: ") {
		t.Errorf("got %v", err)
	}
}

func TestDevicesThatNobodyAskedAs(t *testing.T) {
	t.Parallel()
	devices := []probe.DeviceSettings{{Name: "acme-1"}, {Name: "acme-2"}}
	var asked, other probe.State
	asked.Target = probe.Target{Kind: probe.Device, Name: "acme-1"}
	other.Target = probe.Target{Kind: probe.HTTP, Name: "acme-2"}
	if err := unasked(devices, []probe.State{asked, other}); err == nil || !strings.HasPrefix(err.Error(), "device acme-2: nothing was asked as it: ") {
		t.Errorf("got %v", err)
	}
	if err := unasked(devices[:1], []probe.State{asked}); err != nil {
		t.Errorf("got %v", err)
	}
}
