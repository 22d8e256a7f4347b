package collator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The keys are a function of secret, fleet and time, so that all Relays have the
// same: these were computed apart, with openssl kdf.
func TestTicketKeys(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 11, 59, 59, 0, time.UTC)
	if a, b, c := TicketPeriod(at), TicketPeriod(at.Add(time.Second)), TicketPeriod(at.Add(12*time.Hour)); b != a+1 || c != a+1 {
		t.Errorf("periods %d, %d, %d", a, b, c)
	}
	keys := func(secret, fleet string, period int64) (texts []string) {
		all, err := TicketKeys([]byte(secret), fleet, period)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range all {
			if len(key) != 80 {
				t.Errorf("a key has %d bytes, want 80", len(key))
			}
			texts = append(texts, hex.EncodeToString(key))
		}
		return texts
	}
	now, next, last := keys(ticketTestSecret, "external", 1000), keys(ticketTestSecret, "external", 1001), keys(ticketTestSecret, "external", 999)
	if want := "6ef233db43dd2f142df8a1529e7b5cd41e1c208f2f37e6137c899808bf8e58aecce7b2633bec66797fef6764f3f0a0acac98827b06f1f9c6268633d87924140f02c16c794b2277e59404d9d45b73ee7d"; now[0] != want {
		t.Errorf("the first key is %s, want %s", now[0], want)
	}
	if diff := cmp.Diff([]string{now[0], next[0], last[0], last[2]}, now); diff != "" {
		t.Errorf("current, next and the two before (-want +got):\n%s", diff)
	}
	seen := make(map[string]bool)
	for _, key := range append(append(keys(strings.ToUpper(ticketTestSecret), "external", 1000), keys(ticketTestSecret, "internal", 1000)...), now...) {
		if seen[key] {
			t.Errorf("a key is used twice: %s", key)
		}
		seen[key] = true
	}
}

func TestTicketKeyIsNeverPrinted(t *testing.T) {
	t.Parallel()
	key := TicketKey("hush hush")
	text, err := json.Marshal(map[string]any{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	for _, seen := range []string{
		fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s %q", key, key, key, key, key), fmt.Sprintf("%+v %#v", []TicketKey{key}, struct{ K TicketKey }{key}), string(text),
	} {
		for _, secret := range []string{"hush", "68757368", "0x68", "104 117", "aHVzaC"} {
			if strings.Contains(seen, secret) || !strings.Contains(seen, "REDACTED") {
				t.Errorf("printed as %s", seen)
			}
		}
	}
}

const ticketTestSecret = "0123456789abcdef0123456789ABCDEF"
