package device

import (
	"strings"
	"testing"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	v := values{"id": "d-1", "nonce": "n", "callback": "https://p.test/a b&c"}
	for text, want := range map[string]string{
		"":                                   "",
		"HELLO {id}\r\n":                     "HELLO d-1\r\n",
		"{x01}{length16}{id}":                "\x01\x00\x03d-1",
		"{x82}{length8}{length16}{id}!":      "\x82\x06\x00\x04d-1!",
		"a{length32}":                        "a\x00\x00\x00\x00",
		"{\"id\": \"{id}\"}":                 "{\"id\": \"d-1\"}",
		"{xZZ}{other}{":                      "{xZZ}{other}{",
		"{length8}" + strings.Repeat("é", 3): "\x06ééé",
	} {
		if got := string(v.bytes(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := v.fill("/x/{id}?to={callback}", forURL); got != "/x/d-1?to=https%3A%2F%2Fp.test%2Fa%20b%26c" {
		t.Error(got)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	v := values{"id": "d-1", "nonce": "0a1b", "secret": "s3cret"}
	for came, want := range map[string]string{
		"ERR 401 d-1 is not known\n":              `"ERR 401 {id} is not known"`,
		"token s3cret, and abc123, 0a1b":          `"token {secret}, and …, {nonce}"`,
		"\x01\x02ok\x00\xff":                      `"ok"`,
		"Bearer abcdefghijklmnop":                 `"Bearer REDACTED"`,
		"abcdefghijklmnopqrstuvwxyzabcdefghijklm": `"…"`,
		strings.Repeat("ab ", 50):                 `"` + strings.Repeat("ab ", 26) + `ab…"`,
	} {
		if got := v.shown([]byte(came)); got != want {
			t.Errorf("%q: %s, want %s", came, got, want)
		}
	}
}

// Whatever comes, it shows no value, and no more than a line.
func FuzzShown(f *testing.F) {
	f.Add([]byte("WELCOME serial-4711-a"))
	f.Add([]byte("serial-serial-4711-a4711-a hvs.serial-4711-a"))
	f.Add([]byte("serial\x00-4711-a"))
	f.Fuzz(func(t *testing.T, came []byte) {
		v := values{"id": deviceID, "secret": password}
		got := v.shown(came)
		if strings.Contains(got, deviceID) || strings.Contains(got, password) || strings.Contains(got, "\n") || len([]rune(got)) > 83 {
			t.Errorf("%q is shown as %s", came, got)
		}
	})
}
