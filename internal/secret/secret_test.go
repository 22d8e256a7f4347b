package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"relay/internal/secret"
)

const hidden = "s3cret-t0ken"

type holder struct {
	Name  string
	Text  secret.String
	Bytes secret.Bytes
	Map   map[string]secret.Bytes
	List  []secret.String
	Any   any
}

// TestNothingShowsASecret prints and encodes secrets, alone and within other
// values, in every way that Relay has.
func TestNothingShowsASecret(t *testing.T) {
	t.Parallel()
	text, raw := secret.String(hidden), secret.Bytes(hidden)
	held := holder{"name", text, raw, map[string]secret.Bytes{"key": raw}, []secret.String{text}, text}
	var seen []string
	for _, value := range []any{text, raw, &text, &raw, held, &held} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s", "%U", "%c", "%b"} {
			seen = append(seen, fmt.Sprintf(verb, value))
		}
		seen = append(seen, fmt.Sprint(value), fmt.Errorf("wrapped: %v", value).Error())
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(encoded))
		if encoded, err = yaml.Marshal(value); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(encoded))
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("message", "value", value, slog.Group("group", "value", value))
		}
		seen = append(seen, out.String())
	}
	numbers := strings.Trim(fmt.Sprint([]byte(hidden)), "[]") // as %d shows bytes
	for _, shown := range seen {
		for _, form := range []string{hidden, hidden[:3], hex.EncodeToString([]byte(hidden)), base64.StdEncoding.EncodeToString([]byte(hidden)), numbers} {
			if strings.Contains(strings.ToLower(shown), strings.ToLower(form)) {
				t.Errorf("%q shows the secret", shown)
			}
		}
		if !strings.Contains(shown, secret.Redacted) {
			t.Errorf("%q does not say that something is hidden", shown)
		}
	}
	if string(text) != hidden || string(raw) != hidden || text != secret.String(hidden) {
		t.Error("the value is lost")
	}
}
